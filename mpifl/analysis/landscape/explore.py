"""The loss around a model, along a line or in a plane: how wide is its valley, and is there a wall
to another model.

The points of the grid are shared out over the ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mpifl.analysis.landscape.directions import Direction
from mpifl.analysis.models.reload_mpi import Shared, Subject
from mpifl.curvature import Fixed, Objective
from mpifl.options import BadInput


@dataclass(frozen=True, eq=False)
class Landscape:
    """Loss and accuracy around a model: along one direction `[n]`, or in the plane of two `[n, m]`."""

    title: str
    axes: tuple[str, ...]
    coordinates: tuple[np.ndarray, ...]
    """of each axis: [n], [m]"""
    loss: np.ndarray
    accuracy: np.ndarray
    marks: dict[str, tuple[float, ...]]
    """coordinates of models in it, by name"""

    @property
    def barrier(self) -> float:
        """Of a line that ends in a second model at 1: by how much the loss rises above the straight
        line between.
        """
        [at] = self.coordinates
        between = (at >= 0) & (at <= 1)
        ends = np.interp([0.0, 1.0], at, self.loss)
        straight = ends[0] + at[between] * (ends[1] - ends[0])
        return float(max((self.loss[between] - straight).max(), 0.0))


def grid(direction: Direction, points: int) -> np.ndarray:
    """Coordinates [points] along a direction; 0, and 1 where it is within, are among them."""
    if points < 3:
        raise BadInput(f"--points: expected at least 3 along a line; got {points}")
    at = np.linspace(direction.low, direction.high, points)
    for value in (0.0, 1.0):
        if direction.low <= value <= direction.high:
            at[np.abs(at - value).argmin()] = value
    return at


def explore(
    shared: Shared,
    subject: Subject,
    directions: Sequence[Direction],
    data: Fixed,
    points: int,
    marks: dict[str, tuple[float, ...]] | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Landscape:
    """Loss and accuracy around a model, on a grid of `points` along each of one or two directions.

    `data` is all of the samples on every rank: the grid is what the ranks share. `watch` is told of
    each point.
    """
    coordinates = tuple(grid(direction, points) for direction in directions)
    places = np.stack(np.meshgrid(*coordinates, indexing="ij"), -1).reshape(-1, len(directions))
    scores, f = np.zeros((len(places), 2)), shared.communicator
    w, buffers = shared.vector(subject.weights), shared.vector(subject.buffers)
    for number in range(f.rank, len(places), f.size):
        steps = list(zip(places[number].tolist(), directions, strict=True))
        there = w + sum(step * direction.weights for step, direction in steps)
        held = buffers + sum(step * direction.buffers for step, direction in steps)
        scores[number] = Objective(shared.net, data, held, forward=shared.stage.forward).score(
            there
        )
        watch()
    shape = tuple(map(len, coordinates))
    loss, accuracy = (column.reshape(shape) for column in f.everywhere(scores).T)
    names = tuple(direction.name for direction in directions)
    return Landscape(
        subject.label,
        names,
        coordinates,
        loss,
        accuracy,
        marks or {subject.label: (0.0,) * len(names)},
    )
