"""Power iteration, plain and deflated: for comparison with the many papers that report it.

It finds the eigenvalue of largest magnitude, which may be negative. It stops as in PyHessian (Yao
et al. 2020) and in the code of FedAlign and MAN: when a step changes the value by less than
`tolerance` of itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mpifl.curvature.probes import normals
from mpifl.curvature.symmetric import Symmetric


@dataclass(frozen=True, eq=False)
class Dominant:
    """The result of power iteration."""

    value: float
    vector: Tensor
    """[d], of norm 1"""
    products: int
    converged: bool
    residual: float
    """||H v - value v||: an eigenvalue is this close, if all products are of one matrix"""


def power(
    operator: Symmetric,
    *,
    tolerance: float = 1e-3,
    most: int = 100,
    seed: int = 0,
    number: int = 0,
    away_from: Tensor | None = None,
) -> Dominant:
    """Power iteration from normal vector `number`, orthogonal to the rows of `away_from [k, d]`.

    Stops when |value - value before| < tolerance (|value before| + 1e-6), or after `most` products.
    """
    product = normals(operator, seed, [number], "power start")[0]
    before = math.inf  # so the first step cannot converge
    products = 0
    converged = False
    while products < most and not converged:
        vector = _unit(_without(product, away_from))
        product = operator(vector)
        products += 1
        value = (vector @ product).item()
        is_stable = abs(value - before) < tolerance * (abs(before) + 1e-6)
        converged = operator.any(is_stable or not product.any())
        before = value
    return Dominant(value, vector, products, converged, (product - value * vector).norm().item())


def deflated(
    operator: Symmetric, k: int, *, tolerance: float = 1e-3, most: int = 100, seed: int = 0
) -> list[Dominant]:
    """The k eigenvalues of largest magnitude, one after the other.

    Each iteration is orthogonal to the vectors found before.
    """
    found: list[Dominant] = []
    for number in range(k):
        rows = torch.stack([pair.vector for pair in found]) if found else None
        pair = power(
            operator, tolerance=tolerance, most=most, seed=seed, number=number, away_from=rows
        )
        found.append(pair)
    return found


def _without(vector: Tensor, rows: Tensor | None) -> Tensor:
    return vector if rows is None else vector - (rows @ vector) @ rows


def _unit(vector: Tensor) -> Tensor:
    norm = vector.norm()
    return vector / norm if norm > 0 else vector
