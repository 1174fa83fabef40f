"""Which landscapes of a run are computed, how long that takes, and computing them on all ranks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from mpifl.analysis.hessian.protocols import Exact
from mpifl.analysis.landscape.compute import compute_landscape
from mpifl.analysis.landscape.directions import (
    Direction,
    Scale,
    client_plane,
    direction_to,
    eigen_directions,
    random_directions,
)
from mpifl.analysis.landscape.values import Landscape, Marks
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import StoredModel, select_rounds
from mpifl.analysis.runs.groups import data_of
from mpifl.curvature import Fixed
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Facts

_BATCH = 250
_SIDE = 21
_SIDE_OF_UNIT = 41
_KINDS = ("random", "eigen", "clients")


class Grid(NamedTuple):
    """One landscape to compute: a line along one direction, or the plane of two."""

    directions: Sequence[Direction]
    marks: Marks
    points: int
    """along each direction"""
    kind: str
    """random, eigen, clients or to"""
    to_model: bool = False
    """whether another model is at 1"""


@dataclass(frozen=True)
class LandscapeOptions:
    """The choices of `mpifl landscape`, whose --help explains them."""

    rounds: str = "last"
    client: int | None = None
    along: Sequence[str] = ("random", "eigen")
    to: Sequence[str] = ()
    dims: Sequence[int] = (1, 2)
    points: int = 41
    side: int | None = None
    """by default 21; of eigenvectors of length 1, as in FedAlign's code, 41"""
    span: float = 1.0
    scale: str = "rise"
    samples: int = 1000
    split: str = "train"
    seed: int = 0

    @property
    def points_of_side(self) -> int:
        """How many points a plane has along each side."""
        if self.side is not None:
            return self.side
        return _SIDE_OF_UNIT if self.scale == "unit" else _SIDE

    @property
    def settings(self) -> Facts:
        """What the numbers depend on, to keep with them."""
        return {
            "samples": self.samples,
            "split": self.split,
            "seed": self.seed,
            "span": self.span,
            "scale": self.scale,
            "along": ",".join(self.along),
            "to": ",".join(self.to),
        }


class LandscapePlan:
    """The landscapes of one run. All ranks of the run's communicator make one and call its methods.

    `panels` holds the grids; those in one list share a panel of the figure. Raises BadInput, on all
    ranks, for wrong options and for what the run has not stored.
    """

    def __init__(self, on_ranks: RunOnRanks, options: LandscapeOptions) -> None:
        communicator = on_ranks.communicator
        self.on_ranks = on_ranks
        self.options = options
        communicator.agree(lambda: _check(options))
        clients = options.client is not None or "clients" in options.along
        round = communicator.agree(lambda: _one_round(on_ranks.run, options.rounds, clients))
        stored = on_ranks.models([round], clients)
        self._clients = stored[1:]
        self.model: StoredModel = communicator.agree(lambda: _chosen(stored, options.client))
        labels = getattr(on_ranks.reloaded.dataset, options.split).labels
        indices = Exact(samples=options.samples, seed=options.seed).sample_indices(labels, None, ())
        samples = on_ranks.samples(options.split)
        self._data = Fixed(samples, indices, _BATCH)
        self._share = Fixed(samples, indices, _BATCH, communicator.rank, communicator.size)
        self.panels: list[list[Grid]] = communicator.agree(lambda: list(self._plan()))

    @property
    def size(self) -> int:
        """How many points there are to compute."""
        points = 0
        for panel in self.panels:
            for grid in panel:
                points += grid.points ** len(grid.directions)
        return points

    def seconds(self) -> float:
        """About how long it will take, from a line of three points."""
        ranks = self.on_ranks.communicator.size
        start = time.perf_counter()
        first = self.panels[0][0]
        self._compute(first._replace(directions=first.directions[:1], marks={}, points=3))
        points_each = math.ceil(3 / ranks)
        seconds_a_point = (time.perf_counter() - start) / points_each
        return self.on_ranks.communicator.bcast(seconds_a_point * self.size / ranks)

    def compute(self, on_point: Callable[[], None] = lambda: None) -> list[list[Landscape]]:
        """All landscapes; `on_point` is called after each point of this rank."""
        panels = []
        for grids in self.panels:
            panels.append([self._compute(grid, on_point) for grid in grids])
        return panels

    def barriers(self, panels: Sequence[Sequence[Landscape]]) -> dict[str, float]:
        """For each line to another model: by how much the loss rises above the straight line."""
        found = {}
        for grids, landscapes in zip(self.panels, panels, strict=True):
            for grid, landscape in zip(grids, landscapes, strict=True):
                if grid.to_model:
                    found[landscape.axes[0]] = landscape.barrier
        return found

    def _compute(self, grid: Grid, on_point: Callable[[], None] = lambda: None) -> Landscape:
        return compute_landscape(
            self.on_ranks,
            self.model,
            grid.directions,
            self._data,
            grid.points,
            grid.marks,
            on_point,
            grid.kind,
        )

    def _plan(self) -> Iterator[list[Grid]]:
        for kind in self.options.along:
            if kind == "clients":
                lines, plane = self._to_clients()
            else:
                lines, plane = self._around(kind)
            if 1 in self.options.dims:
                yield lines
            if 2 in self.options.dims:
                yield [plane]
        if self.options.to:
            yield from self._to_runs()

    def _around(self, kind: str) -> tuple[list[Grid], Grid]:
        """Lines and the plane along two random directions or eigenvectors."""
        options = self.options
        label = self.model.label
        if kind == "random":
            directions = random_directions(self.on_ranks, self.model, 2, options.seed)
        else:
            scale = cast(Scale, options.scale)
            directions = eigen_directions(
                self.on_ranks, self.model, 2, self._share, scale, options.seed
            )
        directions = [direction.within(-options.span, options.span) for direction in directions]
        lines = []
        for direction in directions:
            lines.append(Grid([direction], {label: (0.0,)}, options.points, kind))
        return lines, Grid(directions, {label: (0.0, 0.0)}, options.points_of_side, kind)

    def _to_clients(self) -> tuple[list[Grid], Grid]:
        """Lines to the clients' models, and the plane in which they lie most apart."""
        directions, marks = client_plane(self.on_ranks, self.model, self._clients)
        lines = []
        for client in self._clients:
            lines.append(self._line_to(client, f"to {client.label}", "clients"))
        return lines, Grid(directions, marks, self.options.points_of_side, "clients")

    def _to_runs(self) -> Iterator[list[Grid]]:
        """Lines to other runs' last models; for two of them, also the plane of all three."""
        runs = [self._open(path) for path in self.options.to]
        lines = []
        for run, run_name in zip(runs, names_of(runs), strict=True):
            last = StoredModel(run.saved_rounds[-1], None, *run.weights())
            lines.append(self._line_to(last, f"to {run_name} (round {last.round})", "to"))
        if 1 in self.options.dims:
            yield lines
        if 2 in self.options.dims and len(lines) == 2:
            directions = [line.directions[0] for line in lines]
            marks = {
                self.model.label: (0.0, 0.0),
                directions[0].name: (1.0, 0.0),
                directions[1].name: (0.0, 1.0),
            }
            yield [Grid(directions, marks, self.options.points_of_side, "to")]

    def _line_to(self, other: StoredModel, name: str, kind: str) -> Grid:
        direction = direction_to(self.on_ranks, self.model, other, name)
        marks = {self.model.label: (0.0,), name: (1.0,)}
        return Grid([direction], marks, self.options.points, kind, to_model=True)

    def _open(self, path: str) -> Run:
        """The run at `path`; raises BadInput where it has no stored weights, or other data."""
        other = Run.open(path)
        run = self.on_ranks.run
        select_rounds(other, "last")
        if data_of(other) != data_of(run):
            expected = f"a run on the data of {run.path}"
            data = f"{other.provenance.get('data_source', 'unknown data')} ({path})"
            raise BadInput(f"--to: expected {expected}; got one on {data}")
        return other


def names_of(runs: Sequence[Run]) -> list[str]:
    """The names of the runs' folders; their paths, where two have the same name."""
    names = [run.path.resolve().name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [str(run.path) for run in runs]


def _check(options: LandscapeOptions) -> None:
    """Raise BadInput for options that are wrong for every run."""
    unknown = sorted(set(options.along) - set(_KINDS))
    if unknown:
        raise BadInput(f"--along: expected some of {', '.join(_KINDS)}; got {', '.join(unknown)}")
    if not options.along and not options.to:
        raise BadInput(
            "--along: expected something to look along, or another run (--to); got neither"
        )
    if not options.along and len(options.to) == 1 and 1 not in options.dims:
        raise BadInput("--dims: expected 1, or a second --to for a plane; got 2 with one other run")
    if len(options.to) > 2:
        raise BadInput(f"--to: expected at most two other runs; got {len(options.to)}")
    if options.scale == "unit" and "eigen" not in options.along:
        got = ", ".join(options.along) or "none"
        raise BadInput(f"--scale unit: expected --along with eigen, which it is about; got {got}")
    counts = (
        ("points", options.points, 3),
        ("side", options.points_of_side, 3),
        ("samples", options.samples, 0),
    )
    for name, value, least in counts:
        if value < least:
            raise BadInput(f"--{name}: expected at least {least}; got {value}")
    if options.span <= 0:
        raise BadInput(f"--span: expected a number above 0; got {options.span}")


def _one_round(run: Run, text: str, clients: bool) -> int:
    rounds = select_rounds(run, text, clients)
    if len(rounds) != 1:
        raise BadInput(f"--round: expected one round; got {len(rounds)}")
    return rounds[0]


def _chosen(stored: Sequence[StoredModel], client: int | None) -> StoredModel:
    """The global model, or the client's."""
    for model in stored:
        if model.client == client:
            return model
    known = ", ".join(str(model.client) for model in stored[1:])
    where = f"one of those stored at round {stored[0].round}: {known}"
    raise BadInput(f"--client: expected {where}; got {client}")
