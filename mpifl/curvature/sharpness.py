"""Sharpness as SAM defines it (Foret et al. 2021, eq. 1), bounded from below.

It is the maximum of f(w + e) - f(w) over ||e|| <= rho.

Projected ascent: the first step is SAM's own, e = rho g / ||g||; each further step sets e to rho
times the direction of the gradient at w + e, as long as f grows. At a minimum of f the sharpness is
about rho^2 / 2 times the largest eigenvalue.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mpifl.curvature.objective import Objective


@dataclass(frozen=True)
class Sharpness:
    """The result of the ascent."""

    value: float
    """the largest f(w + e) - f(w) found: a lower bound"""
    first: float
    """after SAM's one step"""
    gain: float
    """of the last step: another may bring as much"""
    gradients: int
    converged: bool


def sharpness(
    objective: Objective, w: Tensor, *, rho: float = 0.05, tolerance: float = 0.01, most: int = 20
) -> Sharpness:
    """The sharpness at `w [d]` within `rho`.

    Stops when a step gains at most `tolerance` of the value, or after `most` steps.
    """
    base, gradient = objective.gradient(w)
    best = 0.0
    first = 0.0
    gain = 0.0
    for gradients in range(2, most + 2):
        norm = gradient.norm()
        if norm == 0:
            return Sharpness(best, first, 0.0, gradients - 1, True)
        loss, gradient = objective.gradient(w + (rho / norm) * gradient)
        value = loss - base
        if gradients == 2:
            first = value
            gain = value
        else:
            gain = value - best
        best = max(best, value)
        if gradients > 2 and gain <= tolerance * abs(best):
            return Sharpness(best, first, max(gain, 0.0), gradients, True)
    return Sharpness(best, first, max(gain, 0.0), gradients, False)
