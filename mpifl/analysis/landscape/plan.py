"""Which landscapes of a run are looked at, what that will take, and doing it, on all ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mpifl.analysis.hessian.protocols import Exact
from mpifl.analysis.landscape.directions import (
    Direction,
    client_plane,
    direction_to,
    eigen_directions,
    random_directions,
)
from mpifl.analysis.landscape.explore import Landscape, explore
from mpifl.analysis.models.reload_mpi import Shared, Subject, rounds_named
from mpifl.analysis.runs.groups import data_of
from mpifl.curvature import Fixed
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.store import Run

_BATCH = 250


class Part(NamedTuple):
    """One landscape to look at."""

    directions: Sequence[Direction]
    marks: dict[str, tuple[float, ...]]
    points: int
    """along each direction"""
    is_way: bool = False
    """whether another model is at 1"""


@dataclass(frozen=True)
class Wanted:
    """What a user may ask for; see the command's help."""

    rounds: str = "last"
    client: int | None = None
    along: Sequence[str] = ("random", "eigen")
    to: Sequence[str] = ()
    dims: Sequence[int] = (1, 2)
    points: int = 41
    side: int = 21
    span: float = 1.0
    samples: int = 1000
    split: str = "train"
    seed: int = 0


@dataclass(eq=False)
class Plan:
    """The landscapes of one run that are wanted. Raises BadInput, on all ranks, for what the run
    has not.
    """

    shared: Shared
    wanted: Wanted
    subject: Subject = field(init=False)
    panels: list[list[Part]] = field(init=False)
    """the landscapes, those together that share a picture"""

    def __post_init__(self) -> None:
        f, w = self.shared.communicator, self.wanted
        f.agree(lambda: _check(w))
        clients = w.client is not None or "clients" in w.along
        [round] = f.agree(lambda: _one(rounds_named(self.shared.run, w.rounds, clients)))
        stored = self.shared.subjects([round], clients)
        self._clients = stored[1:]
        self.subject = f.agree(lambda: _chosen(stored, w.client))
        labels = getattr(self.shared.stage.dataset, w.split).labels
        indices = Exact(samples=w.samples, seed=w.seed).chosen(labels, None, ())
        samples = self.shared.samples(w.split)
        self.data = Fixed(samples, indices, _BATCH)
        self.own = Fixed(samples, indices, _BATCH, f.rank, f.size)
        self.panels = f.agree(lambda: list(self._planned()))

    @property
    def size(self) -> int:
        """How many points there are to look at."""
        return sum(part.points ** len(part.directions) for panel in self.panels for part in panel)

    def seconds(self) -> float:
        """About how long it will take, by one point, timed."""
        here = Part([self.panels[0][0].directions[0]], {}, 3)
        start = time.perf_counter()
        self._explored(here._replace(points=3))
        rounds = -(-3 // self.shared.communicator.size)
        return self.shared.first(
            (time.perf_counter() - start) / rounds * self.size / self.shared.communicator.size
        )

    def explored(self, watch: Callable[[], None] = lambda: None) -> list[list[Landscape]]:
        """All landscapes; `watch` is told of each point of this rank's."""
        return [[self._explored(part, watch) for part in panel] for panel in self.panels]

    def barriers(self, panels: Sequence[Sequence[Landscape]]) -> dict[str, float]:
        """By how much the loss rises on the way to each other model, above the straight line
        between the two.
        """
        found = [
            (landscape.axes[0], landscape.barrier)
            for planned, panel in zip(self.panels, panels, strict=True)
            for part, landscape in zip(planned, panel, strict=True)
            if part.is_way
        ]
        return dict(found)

    def _explored(self, part: Part, watch: Callable[[], None] = lambda: None) -> Landscape:
        return explore(
            self.shared, self.subject, part.directions, self.data, part.points, part.marks, watch
        )

    def _planned(self) -> Iterator[list[Part]]:
        for kind in self.wanted.along:
            yield from self._along(kind)
        if self.wanted.to:
            yield from self._others()

    def _along(self, kind: str) -> Iterator[list[Part]]:
        w, label = self.wanted, self.subject.label
        if kind == "clients":
            directions, marks = client_plane(self.shared, self.subject, self._clients)
            ways = [
                direction_to(self.shared, self.subject, c, f"to {c.label}") for c in self._clients
            ]
            lines = [Part([way], {label: (0.0,), way.name: (1.0,)}, w.points, True) for way in ways]
        else:
            directions = (
                random_directions(self.shared, self.subject, 2, w.seed)
                if kind == "random"
                else eigen_directions(self.shared, self.subject, 2, self.own, seed=w.seed)
            )
            directions = [d.within(-w.span, w.span) for d in directions]
            marks = {label: (0.0, 0.0)}
            lines = [Part([direction], {label: (0.0,)}, w.points) for direction in directions]
        if 1 in w.dims:
            yield lines
        if 2 in w.dims:
            yield [Part(directions, marks, w.side)]

    def _others(self) -> Iterator[list[Part]]:
        """Lines to other runs' last models, and the plane of this and two others."""
        w, label = self.wanted, self.subject.label
        runs = [self._other(path) for path in w.to]
        others = [Subject(run.saved_rounds[-1], None, *run.weights()) for run in runs]
        names = [
            f"to {name}, round {o.round}" for name, o in zip(_names(runs), others, strict=True)
        ]
        ways = [
            direction_to(self.shared, self.subject, o, name)
            for o, name in zip(others, names, strict=True)
        ]
        if 1 in w.dims:
            yield [Part([way], {label: (0.0,), way.name: (1.0,)}, w.points, True) for way in ways]
        if 2 in w.dims and len(ways) == 2:
            yield [
                Part(ways, {label: (0.0, 0.0), names[0]: (1.0, 0.0), names[1]: (0.0, 1.0)}, w.side)
            ]

    def _other(self, path: str) -> Run:
        """The run at `path`; BadInput without stored weights, or on other data."""
        run = Run.open(path)
        rounds_named(run, "last")
        if data_of(run) != data_of(self.shared.run):
            data = f"{run.provenance.get('data_source', 'unknown data')} ({path})"
            raise BadInput(
                f"--to: expected a run on the data of {self.shared.run.path}; got one on {data}"
            )
        return run


def planned(communicator: Communicator, where: str, wanted: Wanted, **options: Any) -> Plan:
    """The plan for the run at `where`; `options` are those of Shared."""
    run = communicator.agree(lambda: Run.open(where))
    return Plan(Shared(run, communicator, **options), wanted)


def _names(runs: Sequence[Run]) -> list[str]:
    """What the runs are called: their folders, with the way there where these have one name."""
    names = [run.path.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _check(wanted: Wanted) -> None:
    kinds = ("random", "eigen", "clients")
    if unknown := set(wanted.along) - set(kinds):
        raise BadInput(
            f"--along: expected some of {', '.join(kinds)}; got {', '.join(sorted(unknown))}"
        )
    if not wanted.along and not wanted.to:
        raise BadInput(
            "--along: expected something to look along, or another run (--to); got neither"
        )
    if len(wanted.to) > 2:
        raise BadInput(f"--to: expected at most two other runs; got {len(wanted.to)}")
    for name, value, least in (
        ("points", wanted.points, 3),
        ("side", wanted.side, 3),
        ("samples", wanted.samples, 0),
    ):
        if value < least:
            raise BadInput(f"--{name}: expected at least {least}; got {value}")
    if wanted.span <= 0:
        raise BadInput(f"--span: expected a number above 0; got {wanted.span}")


def _one(rounds: list[int]) -> list[int]:
    if len(rounds) != 1:
        raise BadInput(f"--round: expected one round; got {len(rounds)}")
    return rounds


def _chosen(stored: Sequence[Subject], client: int | None) -> Subject:
    found = [subject for subject in stored if subject.client == client]
    if not found:
        known = ", ".join(str(subject.client) for subject in stored[1:])
        raise BadInput(
            f"--client: expected one of those stored at round {stored[0].round}: {known}; got {client}"
        )
    return found[0]
