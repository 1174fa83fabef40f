"""Power iteration, alone and deflated: what papers report eigenvalues by, kept for comparison with
Lanczos.

It finds the eigenvalue of largest magnitude, which may be negative. PyHessian's rule stops it (Yao
et al. 2020), as FedAlign's and MAN's codes do: when the value changed by less than `tolerance` of
itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mpifl.curvature.probes import normals
from mpifl.curvature.symmetric import Symmetric


@dataclass(frozen=True, eq=False)
class Dominant:
    """The eigenvalue of largest magnitude that power iteration came to."""

    value: float
    vector: Tensor
    """[d], of norm 1"""
    products: int
    converged: bool
    residual: float
    """||H v - value v||: an eigenvalue lies within it of the value, if the products were of one
    matrix
    """


def power(
    operator: Symmetric,
    *,
    tolerance: float = 1e-3,
    most: int = 100,
    seed: int = 0,
    number: int = 0,
    away_from: Tensor | None = None,
) -> Dominant:
    """Power iteration from a normal vector; orthogonal to the rows of `away_from [k, d]` at each
    step.

    Stops when |value - value before| < tolerance (|value before| + 1e-6), or after `most` products.
    """
    product = normals(operator, seed, [number], "power start")[0]
    before, products, converged = None, 0, False
    while products < most and not converged:
        vector = _unit(_without(product, away_from))
        product, products = operator(vector), products + 1
        value = (vector @ product).item()
        still = before is not None and abs(value - before) < tolerance * (abs(before) + 1e-6)
        converged = operator.any(still or not product.any())
        before = value
    return Dominant(value, vector, products, converged, (product - value * vector).norm().item())


def deflated(
    operator: Symmetric, k: int, *, tolerance: float = 1e-3, most: int = 100, seed: int = 0
) -> list[Dominant]:
    """The k eigenvalues of largest magnitude one after the other, each iteration orthogonal to
    those found before.
    """
    found: list[Dominant] = []
    for number in range(k):
        rows = torch.stack([pair.vector for pair in found]) if found else None
        options = {"tolerance": tolerance, "most": most, "seed": seed, "number": number}
        found.append(power(operator, away_from=rows, **options))
    return found


def _without(vector: Tensor, rows: Tensor | None) -> Tensor:
    return vector if rows is None else vector - (rows @ vector) @ rows


def _unit(vector: Tensor) -> Tensor:
    norm = vector.norm()
    return vector / norm if norm > 0 else vector
