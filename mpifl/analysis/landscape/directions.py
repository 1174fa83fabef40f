"""Directions to look in from a model: eigenvectors, filter-normalised random ones, where clients
went, another model.

Li et al. (2018, section 4) scale random directions filter by filter, so that nets whose weights
differ in scale can be compared. The way to another model is that of linear mode connectivity
(Frankle et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mpifl.analysis.models.reload_mpi import Shared, Subject
from mpifl.curvature import Curvature, Fixed, lanczos
from mpifl.net import Entry
from mpifl.options import BadInput
from mpifl.seeds import generator


@dataclass(frozen=True, eq=False)
class Direction:
    """Where a coordinate of 1 leads: by how much weights and BatchNorm's statistics change."""

    name: str
    weights: Tensor
    """[d]"""
    buffers: Tensor
    """[b]"""
    low: float = -1.0
    high: float = 1.0
    """where to look, from and to"""

    def within(self, low: float, high: float) -> Direction:
        """The same with other ends."""
        return replace(self, low=low, high=high)


def random_directions(shared: Shared, subject: Subject, k: int, seed: int = 0) -> list[Direction]:
    """Normal vectors in which each filter has the norm of the model's; biases and norms' parameters
    stay.
    """
    w, none = shared.vector(subject.weights), torch.zeros_like(shared.vector(subject.buffers))
    found = []
    for number in range(k):
        draws = generator(seed, "landscape", number).standard_normal(len(w), np.float32)
        found.append(
            Direction(
                f"random {number + 1}", normalised(shared.vector(draws), w, shared.net.layout), none
            )
        )
    return found


def normalised(direction: Tensor, w: Tensor, layout: Sequence[Entry]) -> Tensor:
    """`direction [d]` with each filter's norm that of the same filter of `w [d]`, and 0 for tensors
    of one axis.
    """
    result = torch.zeros_like(direction)
    for entry in layout:
        if entry.kind == "parameter" and len(entry.shape) > 1:
            part = slice(entry.offset, entry.offset + entry.size)
            rows, of = (vector[part].view(entry.shape[0], -1) for vector in (direction, w))
            scale = of.norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True).clamp(min=1e-30)
            result[part] = (rows * scale).flatten()
    return result


def eigen_directions(
    shared: Shared, subject: Subject, k: int, data: Fixed, rise: float = 1.0, seed: int = 0
) -> list[Direction]:
    """The top k eigenvectors, scaled so that the quadratic alone rises by `rise` at 1; `data` is
    this rank's part.
    """
    w, none = shared.vector(subject.weights), torch.zeros_like(shared.vector(subject.buffers))
    operator = shared.communicator.agree(lambda: Curvature(shared.objective(subject, data), w))
    top = lanczos(operator, k, seed=seed).top
    found = []
    for number, (value, vector) in enumerate(zip(top.values.tolist(), top.vectors, strict=True), 1):
        length = (2 * rise / max(abs(value), 1e-12)) ** 0.5
        found.append(Direction(f"eigenvector {number} (λ = {value:.4g})", length * vector, none))
    return found


def direction_to(shared: Shared, subject: Subject, other: Subject, name: str) -> Direction:
    """The way to another model, which is at 1; BadInput where the two have not the same tensors."""
    if len(other.weights) != len(subject.weights) or len(other.buffers) != len(subject.buffers):
        raise BadInput(
            f"--to: expected a model with the same tensors ({len(subject.weights):,} weights); got {name} with "
            f"{len(other.weights):,}"
        )
    step = shared.vector(other.weights) - shared.vector(subject.weights)
    return Direction(
        name, step, shared.vector(other.buffers) - shared.vector(subject.buffers), -0.25, 1.25
    )


def client_plane(
    shared: Shared, subject: Subject, clients: Sequence[Subject]
) -> tuple[list[Direction], dict]:
    """The two directions in which the clients' models lie most apart, and where in that plane each
    of them is.

    They are the leading singular vectors of the steps from the model to the clients'. BadInput for
    fewer than two.
    """
    if len(clients) < 2:
        where = f"round {subject.round}"
        raise BadInput(
            f"--along clients: expected at least two clients' models at {where}; got {len(clients)}"
        )
    steps = torch.stack(
        [shared.vector(c.weights) - shared.vector(subject.weights) for c in clients]
    )
    moved = torch.stack(
        [shared.vector(c.buffers) - shared.vector(subject.buffers) for c in clients]
    )
    values, mixes = np.linalg.eigh((steps @ steps.T).double().cpu().numpy())
    lengths, mixes = np.sqrt(np.maximum(values[:-3:-1], 1e-30)), mixes[:, :-3:-1]
    at = mixes * lengths  # coordinates of the clients along unit vectors
    reach = float(np.abs(at).max()) * 1.25
    found = []
    for number in range(2):
        mix = torch.from_numpy(mixes[:, number] / lengths[number]).to(steps)
        found.append(
            Direction(f"clients' direction {number + 1}", mix @ steps, mix @ moved, -reach, reach)
        )
    marks = {subject.label: (0.0, 0.0)}
    return found, marks | {c.label: tuple(row) for c, row in zip(clients, at.tolist(), strict=True)}
