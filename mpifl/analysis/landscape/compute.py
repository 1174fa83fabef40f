"""Loss and accuracy on a grid around a model: along a line or in a plane.

The points of the grid are shared out over the ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpifl.analysis.landscape.directions import Direction
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import StoredModel
from mpifl.curvature import Fixed, Objective
from mpifl.options import BadInput

Marks = Mapping[str, tuple[float, ...]]
"""coordinates of models, by name"""


@dataclass(frozen=True, eq=False)
class Landscape:
    """Loss and accuracy around a model: along one direction [n], or in the plane of two [n, m]."""

    title: str
    axes: tuple[str, ...]
    coordinates: tuple[np.ndarray, ...]
    """of each axis: [n], [m]"""
    loss: np.ndarray
    accuracy: np.ndarray
    marks: Marks
    """models that lie in it"""
    kind: str = ""
    """random, eigen, clients or to: landscapes of one kind, of several runs, are compared"""
    scale: str = ""
    """what a coordinate of 1 is (`Scale`)"""

    @property
    def barrier(self) -> float:
        """Of a line to a model at 1: the greatest rise of the loss above a straight line.

        The straight line is drawn between the two models' losses.
        """
        [at] = self.coordinates
        return barrier_between(at, self.loss)


def barrier_between(at: np.ndarray, loss: np.ndarray) -> float:
    """The greatest rise of a line's loss [n] above the straight line from `at` [n] = 0 to 1.

    It is 0 where the loss does not rise above it. A lower bound: between points it may be higher.

    >>> at = np.linspace(0, 1, 11)
    >>> barrier_between(at, ((2 * at - 1) ** 2 - 1) ** 2)
    1.0
    """
    between = (at >= 0) & (at <= 1)
    first, second = np.interp([0.0, 1.0], at, loss)
    straight = first + at[between] * (second - first)
    return float(max((loss[between] - straight).max(), 0.0))


def coordinates_along(direction: Direction, points: int) -> np.ndarray:
    """Evenly spaced coordinates [points], which include 0 and 1 if these are within.

    The nearest coordinates are replaced by 0 and 1. Raises BadInput for fewer than 3 points.
    """
    if points < 3:
        raise BadInput(f"--points: expected at least 3 along a line; got {points}")
    at = np.linspace(direction.low, direction.high, points)
    for value in (0.0, 1.0):
        if direction.low <= value <= direction.high:
            at[np.abs(at - value).argmin()] = value
    return at


def compute_landscape(
    on_ranks: RunOnRanks,
    model: StoredModel,
    directions: Sequence[Direction],
    data: Fixed,
    points: int,
    marks: Marks | None = None,
    on_point: Callable[[], None] = lambda: None,
    kind: str = "",
) -> Landscape:
    """Loss and accuracy around a model, at `points` along each of one or two directions.

    Every rank has all of `data`, and computes a share of the points. `on_point` is called after
    each of them.
    """
    coordinates = tuple(coordinates_along(direction, points) for direction in directions)
    places = np.stack(np.meshgrid(*coordinates, indexing="ij"), -1).reshape(-1, len(directions))
    scores = np.zeros((len(places), 2))
    communicator = on_ranks.communicator
    weights = on_ranks.vector(model.weights)
    buffers = on_ranks.vector(model.buffers)
    for number in range(communicator.rank, len(places), communicator.size):
        steps = list(zip(places[number].tolist(), directions, strict=True))
        moved = weights + sum(step * direction.weights for step, direction in steps)
        held = buffers + sum(step * direction.buffers for step, direction in steps)
        objective = Objective(on_ranks.net, data, held, forward=on_ranks.reloaded.forward)
        scores[number] = objective.score(moved)
        on_point()
    shape = tuple(len(axis) for axis in coordinates)
    loss, accuracy = communicator.everywhere(scores).T
    names = tuple(direction.name for direction in directions)
    if marks is None:
        marks = {model.label: (0.0,) * len(names)}
    return Landscape(
        model.label,
        names,
        coordinates,
        loss.reshape(shape),
        accuracy.reshape(shape),
        marks,
        kind,
        directions[0].scale,
    )
