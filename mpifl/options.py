"""How every part of mpifl declares its options: frozen dataclasses, checked by pydantic.

`@options` declares a group of options. `Named` declares an option that is one of a table of groups,
chosen by name. `validated` builds a group from a table (dict) and reports a mistake in one line.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial, wraps
from inspect import isabstract
from pathlib import PurePath
from typing import Annotated, Any, TypeVar, dataclass_transform, get_origin

import pydantic.dataclasses
from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs, ErrorDetails, PydanticCustomError, core_schema

Count = Annotated[int, Ge(1), Lt(2**31)]
NonNegativeInt = Annotated[int, Ge(0), Lt(2**63)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Le(1)]

Kind = TypeVar("Kind")

_LONGEST_LINE = 1000


class BadInput(ValueError):
    """The user gave something wrong; exit code 2.

    The message is one line: where, expected, got, allowed. Characters that would break the line or
    control a terminal are escaped. The middle of a message of more than 1,000 characters is left
    out.
    """

    def __init__(self, line: str) -> None:
        if len(line) > _LONGEST_LINE:
            line = _shortened(line)
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


def _shortened(line: str) -> str:
    """A line without its middle, cut between words."""
    start = line[: _LONGEST_LINE // 2]
    end = line[-_LONGEST_LINE // 3 :]
    if " " in start:
        start = start[: start.rindex(" ")]
    if " " in end:
        end = end[end.index(" ") + 1 :]
    return f"{start} ... {end}"


def similar(got: Any, allowed: Iterable[str]) -> str:
    """A question about the most similar allowed name; empty if none is similar.

    >>> similar("lr", ["rounds", "local.lr"]), similar("epoch", ["epochs"])
    ('; did you mean local.lr?', '; did you mean epochs?')
    """
    allowed = list(allowed)
    ends = [name for name in allowed if name.endswith(f".{got}")]
    if ends:
        return f"; did you mean {min(ends, key=lambda name: name.count('.'))}?"
    found = difflib.get_close_matches(str(got), allowed, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def suggestion(got: Any, allowed: Iterable[str]) -> str:
    """The end of an error line: the most similar allowed name, if any, and all allowed names."""
    allowed = list(allowed)
    return f"{similar(got, allowed) or ';'} allowed: {', '.join(allowed) or 'none'}"


# --- groups of options --------------------------------------------------------------------------

_CONFIG = ConfigDict(
    strict=True,
    extra="forbid",
    allow_inf_nan=False,
    use_attribute_docstrings=True,
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
            raise BadInput(_line(error.errors(include_url=False), given, where)) from None

    return __init__


def _schema(
    kind: type, source: Any, handler: GetCoreSchemaHandler
) -> core_schema.BeforeValidatorFunctionSchema:
    """pydantic's schema of a group: its own schema of a dataclass, after `_prepared`."""
    return core_schema.no_info_before_validator_function(partial(_prepared, kind), handler(source))


def _prepared(kind: type, given: Any) -> Any:
    """What pydantic checks in place of `given`: an instance for a table, tuples for lists."""
    if isinstance(given, ArgsKwargs):
        return ArgsKwargs(given.args, _arguments(kind, given.kwargs or {}))
    if isinstance(given, kind) or isabstract(kind):
        return given
    if isinstance(given, dict):
        return _built(kind, {str(name): value for name, value in given.items()})
    hint = ""
    if isinstance(given, str) and "name" in option_names(kind):
        hint = f"; did you mean {{ name = {json.dumps(given)} }}?"
    raise _mistake(f"expected a table of options; got {given!r}{hint}", given)


def _built(kind: Any, given: dict[str, Any]) -> Any:
    """A new instance, as pydantic's constructor makes it; raises ValidationError."""
    instance = object.__new__(kind)
    kind.__pydantic_validator__.validate_python(ArgsKwargs((), given), self_instance=instance)
    return instance


def _arguments(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    known = option_names(kind)
    for name in given:
        if name not in known:
            raise _mistake(f"unknown key{_suggested_option(kind, name)}", given, name)
    arguments = {}
    for name, value in given.items():
        plain = _plain(value)
        arguments[name] = tuple(plain) if isinstance(plain, list) else plain
    return arguments


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


def _suggested_option(kind: type, name: str) -> str:
    """The end of an error line about an unknown option, which may be one of a group in this one."""
    known = option_names(kind)
    question = similar(name, known) or similar(name, nested_names(kind))
    return f"{question or ';'} allowed: {', '.join(known) or 'none'}"


@cache
def nested_names(kind: type) -> tuple[str, ...]:
    """The dotted names of all options of a group and of the groups in it, with any names."""
    found: dict[str, None] = {}
    for name, option in _pydantic_fields(kind).items():
        found[name] = None
        for group in _groups_of(option):
            for inner in nested_names(group):
                found[f"{name}.{inner}"] = None
    return tuple(found)


@cache
def option_names(kind: type) -> tuple[str, ...]:
    """The names of the options of a group."""
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]  # is a dataclass


def description(kind: type, option: str) -> str:
    """What an option means: the docstring under it, in the class or in one that it comes from."""
    for base in kind.__mro__:
        if is_dataclass(base) and option in option_names(base):
            text = _pydantic_fields(base)[option].description
            if text:
                return " ".join(text.split())
    return ""


# --- one of several groups, chosen by name ------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Named:
    """Annotation for an option that is one of several groups of options, chosen by name.

    `model: Annotated[Model, Named(MODELS, "cnn")] = Cnn()` takes

    - a table with a name: `{"name": "cnn", "projection": 8}`;
    - a table without: its options are those of `default`;
    - a name alone: `"cnn"`;
    - an instance: `Cnn(projection=8)`.

    The table is read whenever a value is checked, so names may be added to it at any time.
    """

    table: Mapping[str, type]
    default: str

    def name_of(self, value: object) -> str:
        """The name of the class of `value`, which must be in the table."""
        return next(name for name, kind in self.table.items() if type(value) is kind)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """How pydantic checks and serialises the option; `source` is its type."""
        expected = get_origin(source) or source
        return core_schema.no_info_plain_validator_function(
            partial(self._validate, expected),
            serialization=core_schema.plain_serializer_function_ser_schema(self._serialize),
        )

    def _validate(self, expected: type, given: Any) -> Any:
        if isinstance(given, expected) and not isinstance(given, type):
            return given
        if isinstance(given, str):
            given = {"name": given}
        if not isinstance(given, dict):
            allowed = ", ".join(self.table)
            raise _mistake(
                f"expected a name, or a table with a name; got {given!r}; allowed: {allowed}", given
            )
        values = {"name": self.default, **given}
        name = values.pop("name")
        if not isinstance(name, str) or name not in self.table:
            raise _mistake(f"unknown name {name!r}{suggestion(name, self.table)}", name, "name")
        self._refuse_options_of_others(name, values)
        return adapter(self.table[name]).validate_python(values)

    def _refuse_options_of_others(self, name: str, values: Mapping[str, Any]) -> None:
        """Refuse an option that only other classes of the table have."""
        own = option_names(self.table[name])
        for key in values:
            if key in own:
                continue
            owners = [other for other, kind in self.table.items() if key in option_names(kind)]
            if owners:
                raise _mistake(
                    f"expected an option of {name}; got one of {', '.join(owners)}; allowed: "
                    f"{', '.join(own) or 'none'}",
                    values,
                    key,
                )

    def _serialize(self, value: Any) -> dict[str, Any]:
        return {"name": self.name_of(value), **adapter(type(value)).dump_python(value)}

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The JSON Schema of the option: a name, or a table of any of the classes."""
        choices = [self._choice(name, kind, handler) for name, kind in self.table.items()]
        return {
            "oneOf": [{"enum": list(self.table)}, *choices],
            "discriminator": {"propertyName": "name"},
        }

    def _choice(self, name: str, kind: type, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        of_kind = handler.resolve_ref_schema(handler(adapter(kind).core_schema))
        properties = {"name": {"const": name}}
        for option, known in of_kind["properties"].items():
            properties[option] = {**known, "description": description(kind, option)}
        choice = {**of_kind, "properties": properties}
        required = list(of_kind.get("required", []))
        if name != self.default:
            required.insert(0, "name")
        if required:
            choice["required"] = required
        return choice


def tables(kind: type, prefix: str = "") -> dict[str, Mapping[str, type]]:
    """The table of every `Named` option of a group and of the groups in it, by dotted name."""
    found: dict[str, Mapping[str, type]] = {}
    for name, option in _pydantic_fields(kind).items():
        path = f"{prefix}{name}"
        for mark in option.metadata:
            if isinstance(mark, Named):
                found[path] = mark.table
        for group in _groups_of(option):
            found.update(tables(group, f"{path}."))
    return found


def _groups_of(option: FieldInfo) -> list[Any]:
    """The groups that an option may be: one; all of a table; or none, if it is a plain value."""
    for mark in option.metadata:
        if isinstance(mark, Named):
            return list(mark.table.values())
    return [option.annotation] if is_dataclass(option.annotation) else []


def _pydantic_fields(kind: Any) -> dict[str, FieldInfo]:
    return kind.__pydantic_fields__


# --- from a table to a group, or to one line about a mistake ------------------------------------


_ADAPTERS: dict[type, TypeAdapter] = {}


def adapter(kind: type) -> TypeAdapter:
    """What pydantic knows of a class, made once: it validates, serialises and describes."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


_COMPLETE = "complete"
"""type of an error whose message already says what was got and what is allowed"""
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


def validated(kind: type[Kind], table: Any, where: str = "") -> Kind:
    """An instance of the options `kind` from a table of raw values.

    Raises BadInput for the first mistake; its place is given from `where` on.
    """
    try:
        return adapter(kind).validate_python(table)
    except ValidationError as error:
        raise BadInput(_line(error.errors(include_url=False), table, where)) from None


def _mistake(message: str, got: Any, *place: str) -> ValidationError:
    """An error with a finished message; `place` leads to it from the value that is checked."""
    return ValidationError.from_exception_data(
        "options", [{"type": PydanticCustomError(_COMPLETE, message), "loc": place, "input": got}]
    )


def _line(mistakes: list[ErrorDetails], given: Any, where: str) -> str:
    """The first mistake as `where: expected ..; got ..`; `given` is the table that was checked."""
    first = mistakes[0]
    place = _place(first, given)
    start = "".join(f"{part}." for part in (where, *place) if part != "")
    start = f"{start[:-1]}: " if start else ""
    if first["type"] == _COMPLETE:
        return f"{start}{first['msg']}"
    if first["type"] in _MISSING:
        return f"{start}expected a value; got none"
    alternatives = [first]
    if len(place) < len(first["loc"]):  # one of several types: pydantic has a mistake for each
        alternatives += [other for other in mistakes[1:] if other["loc"][: len(place)] == place]
    message = ", or ".join(_expected(one).removeprefix("expected ") for one in alternatives)
    got = "" if "; got" in message else f"; got {first['input']!r}"
    return f"{start}expected {message}{got}"


def _place(mistake: ErrorDetails, given: Any) -> tuple[Hashable, ...]:
    """The keys that lead to a mistake in what was given.

    pydantic's location may be longer: it names the type that was tried, if an option has several.
    """
    location = mistake["loc"]
    if mistake["type"] in (_COMPLETE, *_MISSING):
        return location
    for depth, part in enumerate(location):
        inside = given if isinstance(given, dict) else dict(enumerate(_items(given)))
        if part not in inside:
            return location[:depth]
        given = inside[part]
    return location


def _items(given: Any) -> Iterable[Any]:
    return given if isinstance(given, list | tuple) else ()


def _expected(mistake: ErrorDetails) -> str:
    message = mistake["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    message = message.replace("a valid tuple", "a list")
    return message if message.startswith("expected") else f"expected otherwise: {message}"
