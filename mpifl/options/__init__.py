"""How every part of mpifl declares its options: frozen dataclasses, checked by pydantic.

A group of options is a class:

    @options
    class Sgd:
        lr: Positive = 0.1
        momentum: Fraction = 0.0

`Sgd(lr=-1.0)` raises BadInput, `Sgd.lr: expected greater than 0; got -1.0`. A config has tables
(dicts) instead: `validated(Sgd, {"lr": 0.5}, "local")` builds the same class, and says where in the
config a mistake is. A group may have options that are groups, and options that are one of several
groups, chosen by name (`Named`).

`groups.py` has the decorator, `named.py` the choice by name, `fields.py` what a group says of
itself, `mistakes.py` pydantic's errors in one line, `bad_input.py` the error that users see.
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator

from mpifl.options.bad_input import BadInput, checked_path, similar, suggestion
from mpifl.options.fields import adapter, description, json_schema, only_toml, option_names
from mpifl.options.groups import options, validated
from mpifl.options.named import Named, nested_names, tables

Count = Annotated[int, Ge(1), Lt(2**31)]
NonNegativeInt = Annotated[int, Ge(0), Lt(2**63)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Le(1)]
Free = Annotated[dict[str, Any], AfterValidator(only_toml)]
"""a table of any options, which are stored as they are"""

__all__ = [
    "BadInput",
    "Count",
    "Fraction",
    "Free",
    "Named",
    "NonNegative",
    "NonNegativeInt",
    "Positive",
    "Share",
    "adapter",
    "checked_path",
    "description",
    "json_schema",
    "nested_names",
    "option_names",
    "options",
    "similar",
    "suggestion",
    "tables",
    "validated",
]
