"""Eigenpairs at the ends of the spectrum, by Lanczos (1950) with full, double reorthogonalisation.

Each product adds one vector to a space. The eigenvalues of the operator projected on the space
(Rayleigh-Ritz) approach the outer eigenvalues first. Without reorthogonalisation false copies of
them appear; a single one leaves some of them. A start vector sees only one direction of an
eigenvalue's space. So if more than one eigenvalue is wanted, a second start, orthogonal to all that
was found, looks for true copies.

When to stop: a small residual alone does not tell. Where eigenvalues lie close together, a Ritz
value between two of them can have a residual of 3 % of it while the one above has not been found.
The likely error, residual^2 / gap, is large there, since the gap to the next Ritz value is small.
So each value's likely error decides: it is what is stated of the value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mpifl.curvature.krylov import Basis, Space
from mpifl.curvature.symmetric import Symmetric
from mpifl.options import BadInput

_LOOKS = 4
"""products that look for copies of what was found: a copy that stands out shows within these"""
_SMALL = 1e-2
"""eigenvalues below this share of the largest magnitude need only the precision of that share"""


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues at one end of the spectrum, the outermost first."""

    values: np.ndarray
    """float64 [k]"""
    residuals: np.ndarray
    """[k]: an eigenvalue is certainly this close to each value (up to rounding)"""
    errors: np.ndarray
    """[k]: the likely error, residual^2 / gap; wrong only if an eigenvalue is missing in the gap"""
    converged: np.ndarray
    """[k]: whether the likely error is within the tolerance"""
    vectors: Tensor
    """[k, d], orthonormal"""


@dataclass(frozen=True, eq=False)
class Ends:
    """The result of `lanczos`."""

    top: Eigenpairs
    bottom: Eigenpairs
    basis: Basis
    """the space and the operator on it: with it a trace needs fewer probes"""
    products: int


def lanczos(
    operator: Symmetric,
    top: int = 1,
    bottom: int = 0,
    *,
    tolerance: float = 1e-3,
    most: int = 200,
    seed: int = 0,
) -> Ends:
    """The `top` largest and `bottom` smallest eigenvalues (signed), with their vectors.

    Stops when every value's likely error is at most `tolerance` |value|, or after `most` products;
    `converged` says which. On networks, errors at the default were below 0.05 %. Raises BadInput if
    more eigenvalues are wanted than the operator has, or than `most`.
    """
    wanted = top + bottom
    d = operator.dimension
    if not 1 <= wanted <= d:
        raise BadInput(
            f"lanczos: expected 1 to {d} eigenvalues, the dimension; "
            f"got top={top} and bottom={bottom}"
        )
    if most < wanted:
        raise BadInput(
            f"lanczos.most: expected at least as many products as eigenvalues, {wanted}; got {most}"
        )
    space = Space(operator, min(most, d), seed)
    while space.size < space.most:
        space.step()
        converged = space.size >= wanted and operator.any(_converged(space, top, bottom, tolerance))
        if converged and (wanted == 1 or not _copies(space, top, bottom, tolerance)):
            break
    largest, smallest = _pairs(space, top, bottom, tolerance)
    return Ends(largest, smallest, space.basis(), space.size)


def _copies(space: Space, top: int, bottom: int, tolerance: float) -> bool:
    """Whether a new start, orthogonal to the space, changes the wanted values."""
    before, _, _ = _ends(space, top, bottom)
    space.restart()
    for _ in range(min(_LOOKS, space.most - space.size)):
        space.step()
    after, _, _ = _ends(space, top, bottom)
    moved = np.abs(after - before) > tolerance * np.maximum(np.abs(before), _SMALL * space.scale)
    return space.operator.any(bool(moved.any()))


def _ends(space: Space, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, bounds and coordinates of the wanted pairs: the largest, then the smallest."""
    values, coordinates, bounds = space.ritz()
    from_the_top = range(len(values))[::-1]
    chosen = [*from_the_top[:top], *range(bottom)]
    return values[chosen], bounds[chosen], coordinates[:, chosen]


def _converged(space: Space, top: int, bottom: int, tolerance: float) -> bool:
    values, bounds, _ = _ends(space, top, bottom)
    errors = _errors(values, bounds, space.ritz()[0])
    return bool(_small_enough(values, errors, space, tolerance).all())


def _small_enough(
    values: np.ndarray, errors: np.ndarray, space: Space, tolerance: float
) -> np.ndarray:
    return errors <= tolerance * np.maximum(np.abs(values), _SMALL * space.scale) + space.rounding


def _pairs(space: Space, top: int, bottom: int, tolerance: float) -> tuple[Eigenpairs, Eigenpairs]:
    values, bounds, coordinates = _ends(space, top, bottom)
    errors = _errors(values, bounds, space.ritz()[0])
    converged = _small_enough(values, errors, space, tolerance)
    errors = errors + space.rounding
    vectors = _signed(space.combine(coordinates))

    def pairs(s: slice) -> Eigenpairs:
        return Eigenpairs(values[s], bounds[s], errors[s], converged[s], vectors[s])

    return pairs(slice(0, top)), pairs(slice(top, top + bottom))


def _errors(values: np.ndarray, bounds: np.ndarray, all_values: np.ndarray) -> np.ndarray:
    """min(bound, bound^2 / gap), with the gap to the nearest other value, if there is another."""
    if len(all_values) == 1:
        return bounds
    apart = np.abs(values[:, None] - all_values[None, :])
    gaps = np.sort(apart, axis=1)[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gaps > bounds, bounds**2 / np.maximum(gaps, np.finfo(float).tiny), bounds)


def _signed(vectors: Tensor) -> Tensor:
    """Each row with the sign that makes its largest entry positive: an eigenvector has no sign."""
    if not len(vectors):
        return vectors
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)
