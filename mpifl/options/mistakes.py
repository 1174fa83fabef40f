"""Mistakes that pydantic finds in options, as one line: `local.lr: expected ...; got ...`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from mpifl.options.bad_input import BadInput

_COMPLETE = "complete"
"""type of an error whose message already says what was got and what is allowed"""
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


def mistake(message: str, got: Any, *place: str) -> ValidationError:
    """An error of ours, with a finished message, for a validator that pydantic calls.

    `place` are the keys that lead to the mistake from the value that is validated.
    """
    return ValidationError.from_exception_data(
        "options", [{"type": PydanticCustomError(_COMPLETE, message), "loc": place, "input": got}]
    )


def bad_input(error: ValidationError, given: Any, where: str) -> BadInput:
    """The first mistake that pydantic found in the table `given`, which stands at `where`."""
    mistakes = error.errors(include_url=False)
    first = mistakes[0]
    place = _place(first, given)
    path = ".".join(str(part) for part in (where, *place) if part != "")
    message = _message(first, _alternatives(mistakes, place))
    return BadInput(f"{path}: {message}" if path else message)


def _place(first: ErrorDetails, given: Any) -> tuple[Hashable, ...]:
    """The keys that lead to a mistake in what was given.

    pydantic's location may be longer: it names the type that was tried, if an option has several.
    """
    location = first["loc"]
    if first["type"] in (_COMPLETE, *_MISSING):
        return location
    for depth, part in enumerate(location):
        inside = given if isinstance(given, dict) else dict(enumerate(_items(given)))
        if part not in inside:
            return location[:depth]
        given = inside[part]
    return location


def _items(given: Any) -> Iterable[Any]:
    return given if isinstance(given, list | tuple) else ()


def _alternatives(mistakes: list[ErrorDetails], place: tuple[Hashable, ...]) -> list[ErrorDetails]:
    """The first mistake; of an option that may have several types, one mistake for each type."""
    first, *others = mistakes
    if len(first["loc"]) == len(place):
        return [first]
    return [first, *(other for other in others if other["loc"][: len(place)] == place)]


def _message(first: ErrorDetails, alternatives: list[ErrorDetails]) -> str:
    if first["type"] == _COMPLETE:
        return first["msg"]
    if first["type"] in _MISSING:
        return "expected a value; got none"
    message = f"expected {', or '.join(_expected(one) for one in alternatives)}"
    return message if "; got" in message else f"{message}; got {first['input']!r}"


def _expected(mistake: ErrorDetails) -> str:
    """What pydantic, or a check of ours, expected: in the words after "expected"."""
    message = mistake["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    message = message.replace("a valid tuple", "a list")
    if message.startswith("expected"):
        return message.removeprefix("expected ")
    return f"otherwise: {message}"
