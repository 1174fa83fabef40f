"""FedDecorr (Shi et al. 2023): features of a batch are to be uncorrelated.

    beta/B mean_{i != j} K_ij^2,  K = x'x,  x = (f - mean) / sqrt(var + 1e-8)

f are the features [B, q] that enter the classifier; mean and variance (divided by B - 1) are over
the batch. K is not divided by B: with correlations r the term is beta (B - 1)^2/B mean r_ij^2,
which grows with the batch, so that a beta belongs to a batch size. This is the authors' code; the
codes of others copy it. Their beta is 0.1, with batches of 64. A batch of one sample has the term
0.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.options import NonNegative, options


@options
class Decorr(Loss):
    """beta = 0 is the loss without it."""

    beta: NonNegative = 0.1
    """strength, for the batch size that the run has"""

    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    regulariser: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        if self.beta == 0:
            return step.x.new_zeros(())
        return self.beta * squared_correlations(step.out.features)


def squared_correlations(f: Tensor) -> Tensor:
    """mean_{i != j} K_ij^2 / B of features [B, q]; 0 if B or q is 1."""
    batch, q = f.shape
    if batch == 1 or q == 1:
        return f.new_zeros(())
    x = (f - f.mean(0)) / (f.var(0) + 1e-8).sqrt()
    # x'x [q, q] and xx' [B, B] have the same norm: take the smaller one
    gram = x @ x.T if batch < q else x.T @ x
    diagonal = x.square().sum(0)
    between = gram.square().sum() - diagonal.square().sum()
    return between / (q * (q - 1)) / batch
