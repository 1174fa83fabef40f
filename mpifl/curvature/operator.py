"""The Hessian of an objective at w, and its Gauss-Newton part, as operators: exact products, by
double backward.

A batch's graph is built once for a block of vectors: for a CNN a product in a block of four costs
about two gradients, one alone almost three. Relative to its norm a product is right to about 4e-7
in float32, and to 1e-15 in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from mpifl.curvature.objective import UNUSED, Objective, flat
from mpifl.curvature.symmetric import Symmetric
from mpifl.options import BadInput

Pieces = Sequence[Tensor]
"""a vector as tensors like the parameters"""
Products = Callable[[Objective, list[Tensor], Tensor, Tensor, list[Pieces]], list[Tensor]]
"""of a batch's summed loss with each vector, given the parameters, x and y"""


def hessian(
    objective: Objective, parameters: list[Tensor], x: Tensor, y: Tensor, vectors: list[Pieces]
) -> list[Tensor]:
    """H v = d/dw <gradient, v> (Pearlmutter 1994)."""
    loss = objective.loss(x, y)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, **UNUSED)
    return [flat(_gradient(gradients, parameters, vector)) for vector in vectors]


def gauss_newton(
    objective: Objective, parameters: list[Tensor], x: Tensor, y: Tensor, vectors: list[Pieces]
) -> list[Tensor]:
    """G v = J' (diag p - p p') J v (Schraudolph 2002), J the logits' Jacobian and p the
    probabilities; G >= 0.

    J v comes from differentiating J' u, which is linear in u, once more.
    """
    logits = objective.logits(x)
    p = logits.detach().softmax(-1)
    u = torch.zeros_like(logits, requires_grad=True)
    back = torch.autograd.grad(logits, parameters, u, create_graph=True, **UNUSED)
    results = []
    for vector in vectors:
        [forward] = _gradient(back, [u], vector)
        weighted = p * (forward - (p * forward).sum(-1, keepdim=True))
        results.append(flat(_gradient([logits], parameters, [weighted])))
    return results


def _gradient(outputs: Pieces, inputs: list[Tensor], vector: Pieces) -> Pieces:
    """d/d inputs of <outputs, vector>, on a graph that is kept."""
    pairs = [(o, v) for o, v in zip(outputs, vector, strict=True) if o.requires_grad]
    if not pairs:
        return [torch.zeros_like(t) for t in inputs]
    outputs, vector = zip(*pairs, strict=True)
    return torch.autograd.grad(outputs, inputs, vector, retain_graph=True, **UNUSED)


class Curvature(Symmetric):
    """The Hessian (or by `products=gauss_newton` its Gauss-Newton part) of an objective at `w [d]`.

    With `only`, names of parameters, it is their diagonal block, and cheaper. Unless `check` is
    off, two passes over the data are compared first (BadInput where they differ), which gives
    `loss` and `gradient [d]` too. On several processes each product costs one sum of the flat block
    of vectors.
    """

    def __init__(
        self,
        objective: Objective,
        w: Tensor,
        *,
        products: Products = hessian,
        only: Collection[str] | None = None,
        check: bool = True,
    ) -> None:
        self.objective, self.w = objective, w.detach().clone()
        self._products = products
        named = dict(objective.net.module.named_parameters())
        if unknown := set(only or ()) - set(named):
            raise BadInput(f"only: expected names of parameters; got {', '.join(sorted(unknown))}")
        self.names = [name for name in named if only is None or name in only]
        self.parameters = [named[name] for name in self.names]
        self.sizes = [p.numel() for p in self.parameters]
        self.dimension, self.dtype, self.device = sum(self.sizes), w.dtype, w.device
        self.loss, self.gradient = objective.check(w) if check else (None, None)

    def block(self, vectors: Tensor) -> Tensor:
        """H v of each row of `vectors [k, d]`: [k, d]."""
        pieces = [self._pieces(row) for row in vectors]
        packed = vectors.new_zeros(vectors.numel() + 1)
        sums = packed[:-1].view_as(vectors)
        with self.objective.at(self.w), torch.enable_grad():
            for x, y in self.objective.data:
                for row, product in zip(sums, self._batch(x, y, pieces), strict=True):
                    row += product
                packed[-1] += len(y)
        packed = self.objective.total(packed)
        return packed[:-1].view_as(vectors) / packed[-1]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set for any process that shares the data."""
        return bool(self.objective.total(torch.tensor([float(flag)], device=self.device)).item())

    def _batch(self, x: Tensor, y: Tensor, vectors: list[Pieces]) -> list[Tensor]:
        return self._products(self.objective, self.parameters, x, y, vectors)

    def _pieces(self, vector: Tensor) -> Pieces:
        return [
            v.view_as(p) for v, p in zip(vector.split(self.sizes), self.parameters, strict=True)
        ]
