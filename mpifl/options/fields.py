"""What a group of options says of itself: the names of its options, and what they mean."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import tomli_w
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

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
        if is_dataclass(base) and option in docstrings(base):
            return " ".join(docstrings(base)[option].split())
    return ""


@cache
def docstrings(kind: type[Any]) -> dict[str, str]:
    """The text under each option in the source of a class, by the option's name.

    pydantic can collect them too, but when the class is made: each start of mpifl, on each rank,
    would read the source of all options. There is no text where the source is not to be had.
    """
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return {}
    [definition] = ast.parse(textwrap.dedent(source)).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for option, text in pairwise(body):
        if not isinstance(option, ast.AnnAssign) or not isinstance(option.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[option.target.id] = inspect.cleandoc(str(text.value.value))
    return found


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON Schema of a group of options, with what each means."""
    return adapter(kind).json_schema(schema_generator=_WithMeanings)


class _WithMeanings(GenerateJsonSchema):
    """pydantic's JSON Schema, and the docstrings of options."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        made = super().dataclass_schema(schema)
        kind: type = schema["cls"]
        properties = self.resolve_ref_schema(made).get("properties", {})
        for option, text in docstrings(kind).items():
            if option in properties:
                properties[option]["description"] = text
        return made


def only_toml(table: dict[str, Any]) -> dict[str, Any]:
    """`table`, if TOML can write it. Raises ValueError."""
    try:
        tomli_w.dumps(table)
    except TypeError as error:
        raise ValueError(f"expected values that TOML can write; got: {error}") from None
    return table
