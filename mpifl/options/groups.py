"""`@options`, which declares a group of options, and `validated`, which builds one from a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial, wraps
from inspect import isabstract
from pathlib import PurePath
from typing import Any, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import ArgsKwargs, core_schema

from mpifl.options.bad_input import BadInput, similar
from mpifl.options.fields import adapter, option_names
from mpifl.options.mistakes import bad_input, mistake
from mpifl.options.named import nested_names

Kind = TypeVar("Kind")

_CONFIG = ConfigDict(
    strict=True,
    extra="forbid",
    allow_inf_nan=False,
    arbitrary_types_allowed=True,
)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(kind: type[Kind]) -> type[Kind]:
    """Decorator for a group of options: a frozen dataclass that pydantic checks when it is built.

    Unknown names, NaN and infinity are refused with BadInput, and no value is converted. There are
    two exceptions. For what TOML can say: a table (dict) may stand for an instance, a list for a
    tuple. For Python: numpy's numbers and arrays are taken as numbers and lists, paths as text.
    """
    setattr(kind, "__get_pydantic_core_schema__", classmethod(_schema))  # noqa: B010 (for mypy)
    decorate = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=_CONFIG)
    made = decorate(kind)
    setattr(made, "__init__", _constructor(made.__init__))  # noqa: B010 (for mypy)
    return made  # type: ignore[return-value]  # `kind`, with a constructor that checks


def validated(kind: type[Kind], table: Any, where: str = "") -> Kind:
    """An instance of the group `kind` from a table of raw values.

    Raises BadInput for the first mistake; its place is given from `where` on.
    """
    try:
        return adapter(kind).validate_python(table)
    except ValidationError as error:
        raise bad_input(error, table, where) from None


def _constructor(checked: Callable[..., None]) -> Callable[..., None]:
    """pydantic's `__init__`, with a mistake in one line: `Local.lr: expected ...`."""

    @wraps(checked)
    def __init__(self: Any, *unnamed: Any, **given: Any) -> None:
        where = type(self).__name__
        if unnamed:
            raise BadInput(f"{where}: expected options by name; got {unnamed[0]!r}")
        try:
            checked(self, **given)
        except ValidationError as error:
            raise bad_input(error, given, where) from None

    return __init__


def _schema(kind: type, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    """How pydantic checks a group: as a dataclass, for which a table may stand, after `_prepared`.

    pydantic asks for it when the class is made.
    """
    schema: Any = handler(source)
    schema["strict"] = isabstract(kind)  # of the group alone: its options stay strict
    return core_schema.no_info_before_validator_function(partial(_prepared, kind), schema)


def _prepared(kind: type, given: Any) -> Any:
    """What pydantic is to check in place of `given`: a call of the constructor, or any value."""
    if isinstance(given, ArgsKwargs):  # from the constructor
        return ArgsKwargs(given.args, _plain_options(kind, given.kwargs or {}))
    if isinstance(given, kind) or isabstract(kind):
        return given
    if isinstance(given, dict):
        return _plain_options(kind, {str(name): value for name, value in given.items()})
    hint = ""
    if isinstance(given, str) and "name" in option_names(kind):
        hint = f"; did you mean {{ name = {json.dumps(given)} }}?"
    raise mistake(f"expected a table of options; got {given!r}{hint}", given)


def _plain_options(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options given, their values as TOML would have them, but tuples for lists."""
    for name in given:
        if name not in option_names(kind):
            raise mistake(f"unknown key{_suggested(kind, name)}", given, name)
    plain = {}
    for name, value in given.items():
        plain[name] = _plain(value)
        if isinstance(plain[name], list):
            plain[name] = tuple(plain[name])
    return plain


def _plain(value: Any) -> Any:
    """A value of Python as TOML would have it: numpy's as numbers and lists, paths as text."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, tuple):
        return tuple(_plain(inner) for inner in value)
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def _suggested(kind: type, name: str) -> str:
    """The end of an error line about an unknown option, which may be one of a group in this one."""
    known = option_names(kind)
    question = similar(name, known) or similar(name, nested_names(kind))
    return f"{question or ';'} allowed: {', '.join(known) or 'none'}"
