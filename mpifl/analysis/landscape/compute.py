"""Loss and accuracy on a grid around a model: along a line or in a plane.

The points of the grid are shared out over the ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mpifl.analysis.landscape.directions import Direction
from mpifl.analysis.landscape.values import Landscape, Marks
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import StoredModel
from mpifl.curvature import Fixed, Objective
from mpifl.options import BadInput


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
