"""How every part of mpifl declares its options: frozen dataclasses that check themselves when they
are built.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import fields
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

Count = Annotated[int, Ge(1), Lt(2**31)]
NonNegativeInt = Annotated[int, Ge(0), Lt(2**63)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Le(1)]


_LONGEST_LINE = 1000


class BadInput(ValueError):
    """Something the user gave is wrong: one line saying where, what was expected, what was got.
    Exit code 2.

    What was got may be anything: signs that would end the line or command a terminal are escaped,
    and the middle of more than 1,000 signs left out.
    """

    def __init__(self, line: str) -> None:
        if len(line) > _LONGEST_LINE:
            line = f"{line[: _LONGEST_LINE // 2]} ... {line[-_LONGEST_LINE // 3 :]}"
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


#: Decorator for a group of options: frozen, unknown names refused, no silent conversions, no NaN or infinity.
options = dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    ),
)


def instance(kind: type, values: dict[str, Any], where: str = "") -> Any:
    """An instance of the options `kind`; raises BadInput that names the first mistake's place,
    below `where`.
    """
    refuse_unknown(values, (field.name for field in fields(kind)), where)
    try:
        return kind(**values)
    except ValidationError as error:
        raise BadInput(_line(error, where)) from None


def refuse_unknown(keys: Iterable[str], allowed: Iterable[str], where: str = "") -> None:
    """BadInput at the first of `keys` that is not allowed."""
    allowed = list(allowed)
    for key in keys:
        if key not in allowed:
            raise BadInput(
                f"{f'{where}.{key}' if where else key}: unknown key{suggestion(key, allowed)}"
            )


def refuse_others_options(
    name: str, keys: Iterable[str], options: dict[str, list[str]], where: str
) -> None:
    """BadInput at the first of `keys` that is no option of `name` but of others: unknown, yet no
    slip of the pen.
    """
    for key in keys:
        owners = [other for other, known in options.items() if key in known]
        if owners and name not in owners:
            raise BadInput(
                f"{where}.{key}: expected an option of {name}; got one of {', '.join(owners)}; allowed: "
                f"{', '.join(options[name]) or 'none'}"
            )


def suggestion(got: Any, allowed: Iterable[str]) -> str:
    """The end of an error line: the nearest allowed name, and all of them."""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(got), allowed, n=1)
    return (
        f"; did you mean {near[0]}?" if near else ";"
    ) + f" allowed: {', '.join(allowed) or 'none'}"


def _line(error: ValidationError, where: str) -> str:
    first, *others = error.errors()
    name, *inside = first["loc"] or ("",)
    numbers = (str(part) for part in inside if isinstance(part, int))
    at = ".".join(part for part in (where, name, *numbers) if part)
    if first["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{at}: expected a value; got none"
    message = _expected(first)
    # one of several types: pydantic has a mistake for each
    if inside and isinstance(inside[0], str):
        others = (
            _expected(other).removeprefix("expected ")
            for other in others
            if other["loc"][:1] == (name,)
        )
        message = ", or ".join((message, *others))
    got = "" if "; got" in message else f"; got {first['input']!r}"
    return f"{at}: {message}{got}"


def _expected(mistake: Any) -> str:
    message = mistake["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return message if message.startswith("expected") else f"expected otherwise: {message}"
