"""Sharpness as SAM defines it (Foret et al. 2021, eq. 1), bounded from below.

It is the maximum of f(w + e) - f(w) over ||e|| <= rho.

Projected ascent: the first step is SAM's own, e = rho g / ||g||; each further step sets e to rho
times the direction of the gradient at w + e, as long as f grows. At a minimum of f the sharpness is
about rho^2 / 2 times the largest eigenvalue.

Where the gradient is 0, or lies in a space that the Hessian keeps to itself, this ascent does not
find the sharpest direction. So it also starts at rho times given directions, both ways: the top
eigenvector is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from mpifl.curvature.objective import Objective


@dataclass(frozen=True)
class Sharpness:
    """The result of the best ascent."""

    value: float
    """the largest f(w + e) - f(w) found: a lower bound"""
    first: float
    """after SAM's one step along the gradient; 0 where that is 0"""
    gain: float
    """of the best ascent's last step: another may bring as much"""
    gradients: int
    """of all ascents together"""
    converged: bool
    """whether the best ascent had stopped growing"""


@dataclass(frozen=True)
class _Ascent:
    """One ascent, from one start."""

    values: list[float]
    """f(w + e) - f(w) after each step"""
    gain: float
    gradients: int
    converged: bool

    @property
    def best(self) -> float:
        return max(self.values, default=0.0)


def sharpness(
    objective: Objective,
    w: Tensor,
    directions: Tensor | None = None,
    *,
    rho: float = 0.05,
    tolerance: float = 0.01,
    most: int = 20,
) -> Sharpness:
    """The sharpness at `w [d]` within `rho`.

    The ascent starts along the gradient, and along each of `directions [k, d]` both ways. It stops
    when a step gains at most `tolerance` of the value, or after `most` steps.
    """
    base, gradient = objective.gradient(w)
    ascents = []
    for start in _starts(gradient, directions):
        ascents.append(_ascend(objective, w, base, start, rho, tolerance, most))
    best = max(ascents, key=lambda ascent: ascent.best)
    first = ascents[0].values[0] if ascents[0].values else 0.0
    gradients = 1 + sum(ascent.gradients for ascent in ascents)
    if best.best <= 0:  # w itself is within the ball
        return Sharpness(0.0, first, 0.0, gradients, best.converged)
    return Sharpness(best.best, first, best.gain, gradients, best.converged)


def _starts(gradient: Tensor, directions: Tensor | None) -> Iterator[Tensor]:
    yield gradient
    if directions is not None:
        for direction in directions:
            yield direction
            yield -direction


def _ascend(
    objective: Objective,
    w: Tensor,
    base: float,
    start: Tensor,
    rho: float,
    tolerance: float,
    most: int,
) -> _Ascent:
    """Ascend from w + rho start / ||start||."""
    values: list[float] = []
    best = 0.0
    gain = 0.0
    direction = start
    for _ in range(most):
        norm = direction.norm()
        if norm == 0:
            return _Ascent(values, 0.0, len(values), True)
        loss, direction = objective.gradient(w + (rho / norm) * direction)
        values.append(loss - base)
        gain = values[-1] - best
        best = max(best, values[-1])
        if len(values) > 1 and gain <= tolerance * abs(best):
            return _Ascent(values, max(gain, 0.0), len(values), True)
    return _Ascent(values, max(gain, 0.0), len(values), False)
