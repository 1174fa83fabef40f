"""Eigenpairs at the ends of the spectrum, by Lanczos (1950) with full, double reorthogonalisation.

Each product widens a space by one vector; the operator projected on it (Rayleigh-Ritz) has
eigenvalues that approach the outer ones first. Without reorthogonalisation copies of them appear
that are not there; once leaves some of it. A start vector sees one direction only of an
eigenvalue's space, so for more than one eigenvalue a second start, orthogonal to all that was
found, looks for true copies.
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
"""products that look for copies of what was found; each that stands out from the rest shows within
these
"""
_SMALL = 1e-2
"""eigenvalues under this share of the largest magnitude are asked for at the precision of that
share
"""


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues at one end of the spectrum, the outermost first."""

    values: np.ndarray
    """[k] f8"""
    residuals: np.ndarray
    """[k]: an eigenvalue lies within this of each value, for certain (up to rounding)"""
    errors: np.ndarray
    """[k]: the likely error, residual^2 / gap: right unless the gap to the next value hides another
    eigenvalue
    """
    converged: np.ndarray
    """[k]: whether the residual is below the tolerance"""
    vectors: Tensor
    """[k, d], orthonormal"""


@dataclass(frozen=True, eq=False)
class Ends:
    """What one Lanczos run found."""

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
    tolerance: float = 0.03,
    most: int = 200,
    seed: int = 0,
) -> Ends:
    """The `top` largest and `bottom` smallest eigenvalues (signed), with vectors.

    Stops when every residual is at most `tolerance` |value| (3 %: errors were then below 0.1 % on
    networks), or after `most` products; `converged` says which. Raises BadInput where more are
    asked for than there are.
    """
    wanted, d = top + bottom, operator.dimension
    if not 1 <= wanted <= d:
        raise BadInput(
            f"lanczos: expected 1 to {d} eigenvalues, the dimension; got top={top} and bottom={bottom}"
        )
    if most < wanted:
        raise BadInput(
            f"lanczos.most: expected at least as many products as eigenvalues, {wanted}; got {most}"
        )
    space = Space(operator, min(most, d), seed)
    while space.size < space.most:
        space.step()
        settled = space.size >= wanted and operator.any(_settled(space, top, bottom, tolerance))
        if settled and (wanted == 1 or not _copies(space, top, bottom, tolerance)):
            break
    return Ends(*_pairs(space, top, bottom, tolerance), space.basis(), space.size)


def _copies(space: Space, top: int, bottom: int, tolerance: float) -> bool:
    """Whether a fresh start, orthogonal to the space, moves the wanted values: then there was more
    to find.
    """
    before, _, _ = _ends(space, top, bottom)
    space.restart()
    for _ in range(min(_LOOKS, space.most - space.size)):
        space.step()
    after, _, _ = _ends(space, top, bottom)
    moved = np.abs(after - before) > tolerance * np.maximum(np.abs(before), _SMALL * space.scale)
    return space.operator.any(bool(moved.any()))


def _ends(space: Space, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, bounds and coordinates of the wanted pairs: first the largest, then the smallest."""
    values, coordinates, bounds = space.ritz()
    chosen = [*range(len(values))[::-1][:top], *range(bottom)]
    return values[chosen], bounds[chosen], coordinates[:, chosen]


def _settled(space: Space, top: int, bottom: int, tolerance: float) -> bool:
    values, bounds, _ = _ends(space, top, bottom)
    return bool(_small_enough(values, bounds, space, tolerance).all())


def _small_enough(
    values: np.ndarray, bounds: np.ndarray, space: Space, tolerance: float
) -> np.ndarray:
    return bounds <= tolerance * np.maximum(np.abs(values), _SMALL * space.scale) + space.rounding


def _pairs(space: Space, top: int, bottom: int, tolerance: float) -> tuple[Eigenpairs, Eigenpairs]:
    values, bounds, coordinates = _ends(space, top, bottom)
    errors = _errors(values, bounds, space.ritz()[0]) + space.rounding
    converged = _small_enough(values, bounds, space, tolerance)
    vectors = _signed(space.combine(coordinates))
    slices = slice(0, top), slice(top, top + bottom)
    return tuple(
        Eigenpairs(values[s], bounds[s], errors[s], converged[s], vectors[s]) for s in slices
    )


def _errors(values: np.ndarray, bounds: np.ndarray, all_values: np.ndarray) -> np.ndarray:
    """min(bound, bound^2 / gap), with the gap to the nearest other value."""
    apart = np.abs(values[:, None] - all_values[None, :])
    gaps = np.sort(apart, axis=1)[:, 1] if len(all_values) > 1 else np.full(len(values), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gaps > bounds, bounds**2 / np.maximum(gaps, np.finfo(float).tiny), bounds)


def _signed(vectors: Tensor) -> Tensor:
    """Each row with its largest entry positive: an eigenvector's sign is free, and this makes it
    one.
    """
    if not len(vectors):
        return vectors
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)
