"""Diagonal and trace from one set of probes (Hutchinson 1990; Bekas et al. 2007), less what Lanczos
saw.

H = W'TW + R, where a Lanczos basis W has the large eigenvalues, so that R is small. For a sign
vector z the entries of z * Rz have the mean diag R; W'TW's diagonal and trace are known. Any W will
do: the estimate has no bias.

    diag H = diag W'TW + E[z * Rz],     tr H = tr T + E[z'Rz],     var(z'Rz) = 2 (||R||_F^2 - ||diag R||^2)

The squared norm of an average of noisy vectors is too large by their variance; dropping products of
a probe with itself (a U-statistic) takes that away.
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
"""probes before the first look at the spread: below, it is too rough to stop by"""


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
    """[probes, tensors], float64: each probe's estimate of the trace of each tensor's diagonal
    block
    """

    @property
    def probes(self) -> int:
        return len(self.parts)

    @property
    def trace(self) -> Estimate:
        """tr H."""
        return _mean(self.parts.sum(1))

    def trace_of(self, tensors: Sequence[int]) -> Estimate:
        """The trace of the diagonal blocks of some tensors, by their numbers."""
        return _mean(self.parts[:, list(tensors)].sum(1))

    @property
    def square(self) -> Estimate:
        """||diag H||^2 without bias, so it may be below 0 where it is less than its error.

        Its variance is 4 d'Cd + 2 tr C^2, with C the covariance of `mean`. Sign probes make C_ij =
        R_ij^2 / m off the diagonal, and as none is negative, d'Cd is at most twice what the
        diagonal of C gives: that is taken.
        """
        mean, variance = self.mean.double(), self.variance.double()
        # the same as dropping each probe's product with itself
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
        """Whether two standard errors of each of `of` (trace, norm, square) are within `tolerance`
        of its value.
        """
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
    """The diagonal of `operator`, with what `basis` has seen of it taken out first, from blocks of
    probes.

    Stops once `within(tolerance, of)`, but after `least` probes at the earliest and `most` at the
    latest. `sizes` splits the vector into tensors, for their traces.
    """
    if not 2 <= least <= most:
        raise BadInput(
            f"diagonal: expected least and most probes with 2 <= least <= most; got {least} and {most}"
        )
    sums = _Sums(
        operator, nothing(operator) if basis is None else basis, sizes or [operator.dimension]
    )
    while True:
        sums.add(signs(operator, seed, range(sums.probes, min(most, sums.probes + block))))
        done = sums.probes >= least and operator.any(sums.result().within(tolerance, of))
        if done or sums.probes >= most:
            return sums.result()


class _Sums:
    """What is kept of the probes so far: sums over them, and each one's trace by tensor."""

    def __init__(self, operator: Symmetric, basis: Basis, sizes: Sequence[int]) -> None:
        self.operator, self.basis, self.sizes = operator, basis, list(sizes)
        self.known = basis.diagonal()
        self.sum, self.squares = torch.zeros_like(self.known), torch.zeros_like(self.known)
        self.parts: list[Tensor] = []
        self.probes = 0

    def add(self, z: Tensor) -> None:
        """Take in the probes `z [k, d]`."""
        samples = z * (self.operator(z) - self.basis.product(z))
        self.sum += samples.sum(0)
        self.squares += samples.square().sum(0)
        tensors = (samples + self.known).split(self.sizes, 1)
        self.parts.append(torch.stack([t.sum(1, dtype=torch.float64) for t in tensors], 1).cpu())
        self.probes += len(z)

    def result(self) -> Diagonal:
        m, rest = self.probes, self.sum / self.probes
        variance = (self.squares / m - rest.square()).clamp_(min=0) / max(m - 1, 1)
        return Diagonal(self.known + rest, variance, torch.cat(self.parts))


def _mean(samples: Tensor) -> Estimate:
    return Estimate(samples.mean().item(), (samples.std() / len(samples) ** 0.5).item())
