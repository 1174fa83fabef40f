"""How much memory products with a Hessian will take, estimated before they are made."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mpifl.curvature.objective import Objective
from mpifl.curvature.operator import hessian
from mpifl.options import BadInput

_PEAK = 2.4
"""the peak, in units of what the graph saves: 2.2 to 2.5 for CNNs, ResNets and ViTs on CPUs"""


@dataclass(frozen=True)
class Memory:
    """Bytes, for one process."""

    graph: int
    """the graph of the largest batch, kept for all vectors of a block"""
    vectors: int
    """flat vectors: a Lanczos basis, blocks of probes and their products"""

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.graph + self.vectors


def memory(objective: Objective, w: Tensor, basis: int = 0, block: int = 4) -> Memory:
    """What products at `w [d]` will take, with a basis of `basis` vectors and blocks of `block`.

    Estimated from the graphs of one sample and of two. Raises BadInput if there is no batch.
    """
    first = next(iter(objective.data), None)
    if first is None:
        raise BadInput("data: expected at least one batch to judge memory by; got none")
    x, y = first
    one = _saved(objective, w, x[:1], y[:1])
    two = _saved(objective, w, x[:2], y[:2])
    graph = _PEAK * (one + (two - one) * (len(y) - 1))
    vectors = (basis + 5 * block + 8) * len(w) * w.element_size()
    return Memory(int(graph), int(vectors))


def _saved(objective: Objective, w: Tensor, x: Tensor, y: Tensor) -> int:
    """Bytes that the graph of a product keeps, without the weights."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        objective.at(w),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        zeros = [torch.zeros_like(p) for p in objective.parameters]
        hessian(objective, objective.parameters, x, y, [zeros])
    kept.pop(objective.net.weights.untyped_storage().data_ptr(), None)
    return sum(kept.values())
