"""How every part of mpifl declares its options: frozen dataclasses that check themselves when they are built."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Count = Annotated[int, Ge(1), Lt(2**31)]
NonNegativeInt = Annotated[int, Ge(0), Lt(2**63)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Le(1)]


class BadInput(ValueError):
    """Something the user gave is wrong: one line saying where, what was expected, what was got. Exit code 2."""


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
