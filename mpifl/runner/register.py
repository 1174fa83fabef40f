"""`mpifl.register`: give a class or function of your own a name that a config may use."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import is_dataclass
from typing import Any, NamedTuple, TypeVar

from mpifl.algorithms import ALGORITHMS, SERVER_OPTIMIZERS
from mpifl.algorithms.fedopt import ServerOptimizer
from mpifl.data.partition import PARTITIONS, Partition
from mpifl.data.sources import SOURCES, Source
from mpifl.losses import LOSSES
from mpifl.losses.loss import Loss
from mpifl.models import MODELS
from mpifl.models.base import Architecture
from mpifl.options import BadInput
from mpifl.runner.trackers import TRACKERS, Tracker
from mpifl.schedules import SCHEDULES, Schedule
from mpifl.training.algorithm import Algorithm
from mpifl.training.gradients import GRADIENTS, Gradient
from mpifl.training.heterogeneity import AVAILABILITIES, Availability

Made = TypeVar("Made", bound=Callable[..., Any])
"""a class, or a function that loads a data set"""


class Kind(NamedTuple):
    """What may be registered: a base class, and the table of the classes that come from it."""

    word: str
    base: type
    table: MutableMapping[str, Any]


KINDS = (
    Kind("loss", Loss, LOSSES),
    Kind("algorithm", Algorithm, ALGORITHMS),
    Kind("server optimizer", ServerOptimizer, SERVER_OPTIMIZERS),
    Kind("gradient", Gradient, GRADIENTS),
    Kind("schedule", Schedule, SCHEDULES),
    Kind("model", Architecture, MODELS),
    Kind("partition", Partition, PARTITIONS),
    Kind("availability", Availability, AVAILABILITIES),
    Kind("tracker", Tracker, TRACKERS),
    Kind("data set", Source, SOURCES),
)

_LOAD = "load(root, download, *, option=default)"


def register(name: str) -> Callable[[Made], Made]:
    """Decorator: make a class or function known under `name`, as mpifl's own are.

    A class comes from Loss, Algorithm, ServerOptimizer, Gradient, Schedule, Model, Partition,
    Availability or Tracker, and has the decorator `@options` below this one. A function
    `load(root, download, *, option=default) -> Dataset` is a data set, whose docstring begins with
    a line that describes it.

    Raises BadInput for anything else, and for a name that is taken: it says by whom.
    """

    def decorate(made: Made) -> Made:
        kind = _kind_of(name, made)
        if not isinstance(name, str) or not name.isidentifier():
            raise BadInput(f"register: expected a name of letters, digits and _; got {name!r}")
        if name in kind.table:
            raise taken(kind, name, kind.table[name])
        if kind.base in (Architecture, Partition):
            setattr(made, "name", name)  # noqa: B010 (for mypy)
        kind.table[name] = Source(_first_line(made), made) if kind.base is Source else made
        return made

    return decorate


def taken(kind: Kind, name: str, entry: Any) -> BadInput:
    """The error for a name that already stands for `entry`."""
    return BadInput(
        f"register: expected a new name for a {kind.word}; got {name!r}, which {owner(entry)} has "
        "registered; choose another"
    )


def owner(entry: Any) -> str:
    """Who has registered the entry of a table: mpifl itself, or the file of a module."""
    module = str(getattr(entry, "loader", entry).__module__)
    if module.partition(".")[0] == "mpifl":
        return "mpifl itself"
    return str(getattr(sys.modules.get(module), "__file__", None) or module)


def _kind_of(name: str, made: Any) -> Kind:
    """What `made` is; raises BadInput for what cannot be registered."""
    if not isinstance(made, type):
        return _data_set(name, made)
    for kind in KINDS:
        if issubclass(made, kind.base):
            _check_class(name, made)
            return kind
    bases = ", ".join(kind.base.__name__ for kind in KINDS if kind.base is not Source)
    raise BadInput(
        f"register: {name}: expected a class derived from one of {bases}; got {made.__name__}"
    )


def _check_class(name: str, made: type) -> None:
    """Raise BadInput for a class that has no options of its own, or lacks a method."""
    is_decorated = is_dataclass(made) and "__dataclass_fields__" in vars(made)
    if not is_decorated:
        raise BadInput(
            f"register: {name}: expected @options below @register; got {made.__name__} without it"
        )
    if inspect.isabstract(made):
        missing = ", ".join(sorted(getattr(made, "__abstractmethods__", ())))
        raise BadInput(
            f"register: {name}: expected all methods of a {made.__mro__[1].__name__}; got "
            f"{made.__name__} without {missing}"
        )


def _data_set(name: str, made: Any) -> Kind:
    kind = KINDS[-1]
    if not inspect.isfunction(made):
        raise BadInput(f"register: {name}: expected a class or a function; got {made!r}")
    parameters = list(inspect.signature(made).parameters.values())
    named = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    has_defaults = all(parameter.default is not parameter.empty for parameter in named)
    if len(parameters) - len(named) != 2 or not has_defaults:
        raise BadInput(
            f"register: {name}: expected a function {_LOAD}; got "
            f"{made.__name__}{inspect.signature(made)}"
        )
    return kind


def _first_line(made: Any) -> str:
    lines = (inspect.getdoc(made) or "").splitlines()
    return lines[0] if lines else ""


# --- what tables have gained --------------------------------------------------------------------


class Entry(NamedTuple):
    """A name in a table, and what it stands for."""

    kind: Kind
    name: str
    value: Any

    @property
    def is_known(self) -> bool:
        """Whether the name stands for this now."""
        return self.kind.table.get(self.name) is self.value

    def add(self) -> None:
        """Make the name known. Raises BadInput where it stands for something else."""
        if not self.is_known and self.name in self.kind.table:
            raise taken(self.kind, self.name, self.kind.table[self.name])
        self.kind.table[self.name] = self.value

    def remove(self) -> None:
        """Take the name out of the table, unless it stands for something else now."""
        if self.is_known:
            del self.kind.table[self.name]


def snapshot() -> list[dict[str, Any]]:
    """The tables as they are, in the order of KINDS."""
    return [dict(kind.table) for kind in KINDS]


def restore(before: list[dict[str, Any]]) -> None:
    """Make the tables what they were at a `snapshot`."""
    for kind, table in zip(KINDS, before, strict=True):
        kind.table.clear()
        kind.table.update(table)


def gained(before: list[dict[str, Any]]) -> Iterator[Entry]:
    """The names that were added since a `snapshot`, with `register` or straight into a table.

    Raises BadInput for a name that now stands for something else.
    """
    for kind, table in zip(KINDS, before, strict=True):
        for name, value in kind.table.items():
            if name in table and value is not table[name]:
                raise taken(kind, name, table[name])
            if name not in table:
                yield Entry(kind, name, value)
