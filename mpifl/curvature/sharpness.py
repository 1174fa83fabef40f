"""Sharpness as SAM means it (Foret et al. 2021, eq. 1): max over ||e|| <= rho of f(w + e) - f(w),
from below.

Projected ascent: the first step is SAM's own, rho g / ||g||, and each further one goes to rho times
the direction of the gradient where it stands, as long as that gains. At a minimum it is about rho^2
/ 2 times the largest eigenvalue.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mpifl.curvature.objective import Objective


@dataclass(frozen=True)
class Sharpness:
    """What the ascent came to."""

    value: float
    """the largest f(w + e) - f(w) found: a lower bound"""
    first: float
    """after SAM's one step"""
    gain: float
    """of the last step: what another may still bring"""
    gradients: int
    converged: bool


def sharpness(
    objective: Objective, w: Tensor, *, rho: float = 0.05, tolerance: float = 0.01, most: int = 20
) -> Sharpness:
    """The sharpness at `w [d]` within `rho`; stops when a step gains less than `tolerance` of the
    value.
    """
    base, gradient = objective.gradient(w)
    best = first = gain = 0.0
    for gradients in range(2, most + 2):
        norm = gradient.norm()
        if norm == 0:
            return Sharpness(best, first, 0.0, gradients - 1, True)
        loss, gradient = objective.gradient(w + (rho / norm) * gradient)
        value = loss - base
        first = value if gradients == 2 else first
        gain, best = value - best if gradients > 2 else value, max(best, value)
        if gradients > 2 and gain <= tolerance * abs(best):
            return Sharpness(best, first, max(gain, 0.0), gradients, True)
    return Sharpness(best, first, max(gain, 0.0), gradients, False)
