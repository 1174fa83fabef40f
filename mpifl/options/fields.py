"""What a group of options says of itself: the names of its options, and what they mean."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import tomli_w
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

_ADAPTERS: dict[type, TypeAdapter] = {}


def adapter(kind: type) -> TypeAdapter:
    """What pydantic knows of a class, made once: it validates, serialises and describes."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def pydantic_fields(kind: Any) -> dict[str, FieldInfo]:
    """The options of a group by name, as pydantic describes them."""
    return kind.__pydantic_fields__


@cache
def option_names(kind: type) -> tuple[str, ...]:
    """The names of the options of a group."""
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]  # is a dataclass


def description(kind: type, option: str) -> str:
    """What an option means: the docstring under it, in the class or in one that it comes from."""
    for base in kind.__mro__:
        if is_dataclass(base) and option in option_names(base):
            text = pydantic_fields(base)[option].description
            if text:
                return " ".join(text.split())
    return ""


def only_toml(table: dict[str, Any]) -> dict[str, Any]:
    """`table`, if TOML can write it. Raises ValueError."""
    try:
        tomli_w.dumps(table)
    except TypeError as error:
        raise ValueError(f"expected values that TOML can write; got: {error}") from None
    return table
