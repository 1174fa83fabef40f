"""Directions from a model: eigenvectors, filter-normalised random ones, to clients, to another run.

Li et al. (2018, section 4) scale random directions filter by filter, so that networks whose weights
differ in scale can be compared. The line to another model is that of linear mode connectivity
(Frankle et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import StoredModel
from mpifl.curvature import Curvature, Fixed, lanczos
from mpifl.flat_layout import Entry
from mpifl.options import BadInput
from mpifl.seeds import generator

Scale = Literal["model", "filters", "rise", "unit"]
"""what a coordinate of 1 is: another model; a step whose filters have the norms of the model's; the
step at which the quadratic term is 1; or a step of length 1"""


@dataclass(frozen=True, eq=False)
class Direction:
    """The change of weights and of BatchNorm's statistics that a coordinate of 1 stands for."""

    name: str
    weights: Tensor
    """[d]"""
    buffers: Tensor
    """[b]"""
    low: float = -1.0
    high: float = 1.0
    """coordinates of the two ends"""
    scale: Scale = "model"
    """what a coordinate of 1 is"""

    def within(self, low: float, high: float) -> Direction:
        """The same direction with other ends."""
        return replace(self, low=low, high=high)


def random_directions(
    on_ranks: RunOnRanks, model: StoredModel, k: int, seed: int = 0
) -> list[Direction]:
    """k normal vectors in which each filter has the norm of the model's own filter.

    Biases and the parameters of normalisation layers do not change.
    """
    weights = on_ranks.vector(model.weights)
    no_change = torch.zeros_like(on_ranks.vector(model.buffers))
    directions = []
    for number in range(k):
        draws = generator(seed, "landscape", number).standard_normal(len(weights), np.float32)
        vector = normalised(on_ranks.vector(draws), weights, on_ranks.net.layout)
        name = f"random {number + 1}"
        directions.append(Direction(name, vector, no_change, scale="filters"))
    return directions


def normalised(direction: Tensor, w: Tensor, layout: Sequence[Entry]) -> Tensor:
    """`direction` [d] with each filter scaled to the norm of the same filter of `w` [d].

    Tensors of one axis become 0.
    """
    result = torch.zeros_like(direction)
    for entry in layout:
        if entry.kind == "parameter" and len(entry.shape) > 1:
            part = slice(entry.offset, entry.offset + entry.size)
            filters = direction[part].view(entry.shape[0], -1)
            norms = w[part].view(entry.shape[0], -1).norm(dim=1, keepdim=True)
            scale = norms / filters.norm(dim=1, keepdim=True).clamp(min=1e-30)
            result[part] = (filters * scale).flatten()
    return result


def eigen_directions(
    on_ranks: RunOnRanks,
    model: StoredModel,
    k: int,
    data: Fixed,
    scale: Scale = "rise",
    seed: int = 0,
) -> list[Direction]:
    """The top k eigenvectors: with scale "rise" as long as makes the quadratic term 1 at 1.

    With scale "unit" their length is 1 (Mendieta et al. 2022, fig. 1), so that a sharper model has
    a steeper landscape. `data` is this rank's share of the samples.
    """
    weights = on_ranks.vector(model.weights)
    no_change = torch.zeros_like(on_ranks.vector(model.buffers))
    communicator = on_ranks.communicator
    H = communicator.agree(lambda: Curvature(on_ranks.objective(model, data), weights))
    top = lanczos(H, k, seed=seed).top
    directions = []
    for number, (value, vector) in enumerate(zip(top.values.tolist(), top.vectors, strict=True), 1):
        length = 1.0
        name = f"eigenvector {number} (λ = {value:.4g})"
        if scale == "rise":
            length = (2 / max(abs(value), 1e-12)) ** 0.5
        else:
            name = f"{name}, length 1"
        directions.append(Direction(name, length * vector, no_change, scale=scale))
    return directions


def direction_to(
    on_ranks: RunOnRanks, model: StoredModel, other: StoredModel, name: str
) -> Direction:
    """The direction with the other model at 1. Raises BadInput where their tensors differ."""
    if len(other.weights) != len(model.weights) or len(other.buffers) != len(model.buffers):
        expected = f"a model with the same tensors ({len(model.weights):,} weights)"
        raise BadInput(f"--to: expected {expected}; got {name} with {len(other.weights):,}")
    step = on_ranks.vector(other.weights) - on_ranks.vector(model.weights)
    moved = on_ranks.vector(other.buffers) - on_ranks.vector(model.buffers)
    return Direction(name, step, moved, -0.25, 1.25)


def client_plane(
    on_ranks: RunOnRanks, model: StoredModel, clients: Sequence[StoredModel]
) -> tuple[list[Direction], dict[str, tuple[float, ...]]]:
    """The two directions in which the clients' models lie most apart, and each model's coordinates.

    They are the leading singular vectors of the steps from the model to the clients'. Raises
    BadInput for fewer than two clients.
    """
    if len(clients) < 2:
        expected = f"at least two clients' models at round {model.round}"
        raise BadInput(f"--along clients: expected {expected}; got {len(clients)}")
    weights = on_ranks.vector(model.weights)
    buffers = on_ranks.vector(model.buffers)
    steps = torch.stack([on_ranks.vector(client.weights) - weights for client in clients])
    moved = torch.stack([on_ranks.vector(client.buffers) - buffers for client in clients])
    values, mixes = np.linalg.eigh((steps @ steps.T).double().cpu().numpy())
    # eigh sorts upwards: the last two, the largest first
    lengths = np.sqrt(np.maximum(values[:-3:-1], 1e-30))
    mixes = mixes[:, :-3:-1]
    coordinates = mixes * lengths  # of the clients, along unit vectors
    reach = float(np.abs(coordinates).max()) * 1.25
    directions = []
    for number in range(2):
        mix = torch.from_numpy(mixes[:, number] / lengths[number]).to(steps)
        name = f"clients' direction {number + 1}"
        directions.append(Direction(name, mix @ steps, mix @ moved, -reach, reach, "unit"))
    marks: dict[str, tuple[float, ...]] = {model.label: (0.0, 0.0)}
    for client, row in zip(clients, coordinates.tolist(), strict=True):
        marks[client.label] = tuple(row)
    return directions, marks
