"""Diagonal and trace from one set of probes, deflated by a Lanczos basis.

The estimator is that of Hutchinson (1990) and Bekas et al. (2007).

H = W'TW + R, where a Lanczos basis W has the large eigenvalues, so that R is small. For a random
sign vector z the entries of z * Rz have the mean diag R; the diagonal and trace of W'TW are known.
The estimate has no bias for any W.

    diag H = diag W'TW + E[z * Rz],    tr H = tr T + E[z'Rz]
    var(z'Rz) = 2 (||R||_F^2 - ||diag R||^2)

The squared norm of an average of noisy vectors is too large by their variance. Leaving out the
products of a probe with itself (a U-statistic) removes this bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mpifl.curvature.krylov import Basis, nothing
from mpifl.curvature.probes import signs
from mpifl.curvature.symmetric import Symmetric
from mpifl.options import BadInput

_LEAST = 8
"""probes before the spread is first looked at: with fewer it is too rough to stop by"""


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float

    def within(self, tolerance: float) -> bool:
        """Whether two standard errors are within `tolerance` of the value."""
        return 2 * self.error <= tolerance * abs(self.value)


@dataclass(frozen=True, eq=False)
class Diagonal:
    """A diagonal estimated from `probes` products."""

    mean: Tensor
    """[d]: the estimate, without bias"""
    variance: Tensor
    """[d]: of each element of `mean`"""
    parts: Tensor
    """[probes, tensors], float64: each probe's estimate of the trace of each tensor's block"""

    @property
    def probes(self) -> int:
        """The number of probes."""
        return len(self.parts)

    @property
    def trace(self) -> Estimate:
        """tr H."""
        return _mean(self.parts.sum(1))

    def trace_of(self, tensors: Sequence[int]) -> Estimate:
        """The trace of the diagonal blocks of the tensors with these numbers."""
        return _mean(self.parts[:, list(tensors)].sum(1))

    @property
    def square(self) -> Estimate:
        """||diag H||^2 without bias, so it can be negative if it is smaller than its error.

        Its variance is 4 d'Cd + 2 tr C^2, with C the covariance of `mean`. With sign probes C_ij =
        R_ij^2 / m off the diagonal. As none of these is negative, d'Cd is at most twice the value
        for the diagonal of C; that bound is used.
        """
        mean = self.mean.double()
        variance = self.variance.double()
        # the same as leaving out each probe's product with itself
        value = mean.square().sum() - variance.sum()
        noise = variance.square().sum()
        # d^2 is mean^2 less its noise
        spread = 8 * ((mean.square() * variance).sum() - noise).clamp(min=0) + 2 * noise
        return Estimate(value.item(), spread.sqrt().item())

    @property
    def norm(self) -> Estimate:
        """||diag H||."""
        square = self.square
        norm = max(square.value, 0.0) ** 0.5
        return Estimate(norm, square.error / (2 * norm) if norm else square.error**0.5)

    def within(self, tolerance: float, of: Sequence[str] = ("trace", "norm")) -> bool:
        """Whether each of `of` (trace, norm, square) is within `tolerance` (`Estimate.within`)."""
        return all(getattr(self, name).within(tolerance) for name in of)


def diagonal(
    operator: Symmetric,
    basis: Basis | None = None,
    *,
    sizes: Sequence[int] | None = None,
    tolerance: float = 0.05,
    of: Sequence[str] = ("trace", "norm"),
    least: int = _LEAST,
    most: int = 200,
    block: int = 4,
    seed: int = 0,
) -> Diagonal:
    """The diagonal of `operator`, deflated by `basis`, from blocks of probes.

    Stops when the estimate is `within(tolerance, of)`, after at least `least` and at most `most`
    probes. `sizes` splits the vector into tensors, for their traces. Raises BadInput unless 2 <=
    least <= most.
    """
    if not 2 <= least <= most:
        raise BadInput(
            "diagonal: expected least and most probes with 2 <= least <= most; "
            f"got {least} and {most}"
        )
    if basis is None:
        basis = nothing(operator)
    sums = _Sums(operator, basis, sizes or [operator.dimension])
    while True:
        sums.add(signs(operator, seed, range(sums.probes, min(most, sums.probes + block))))
        done = sums.probes >= least and operator.any(sums.result().within(tolerance, of))
        if done or sums.probes >= most:
            return sums.result()


class _Sums:
    """The sums over the probes so far, and each probe's traces by tensor."""

    def __init__(self, operator: Symmetric, basis: Basis, sizes: Sequence[int]) -> None:
        self.operator = operator
        self.basis = basis
        self.sizes = list(sizes)
        self.known = basis.diagonal()
        self.sum = torch.zeros_like(self.known)
        self.squares = torch.zeros_like(self.known)
        self.parts: list[Tensor] = []
        self.probes = 0

    def add(self, z: Tensor) -> None:
        """Add the probes `z [k, d]`."""
        samples = z * (self.operator(z) - self.basis.product(z))
        self.sum += samples.sum(0)
        self.squares += samples.square().sum(0)
        tensors = (samples + self.known).split(self.sizes, 1)
        self.parts.append(torch.stack([t.sum(1, dtype=torch.float64) for t in tensors], 1).cpu())
        self.probes += len(z)

    def result(self) -> Diagonal:
        """The estimate from the probes so far."""
        m = self.probes
        rest = self.sum / m
        variance = (self.squares / m - rest.square()).clamp_(min=0) / max(m - 1, 1)
        return Diagonal(self.known + rest, variance, torch.cat(self.parts))


def _mean(samples: Tensor) -> Estimate:
    return Estimate(samples.mean().item(), (samples.std() / len(samples) ** 0.5).item())
