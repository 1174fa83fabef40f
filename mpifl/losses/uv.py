"""FedUV (Son et al. 2024): probabilities that vary over a batch, and features that spread.

    lam V + mu U
    V = mean_k max(0, C^-1/2 - std(p_.k))
    U = mean_{i<j} exp(-d_ij / s),  d_ij = ||f_i - f_j||^2,  s = median of the d_ij that are not 0

p = softmax of the logits [B, C], with std over the batch (divided by B - 1); f are the features
that enter the classifier. s is differentiated, and of an even number of distances the lower middle
one, as in the authors' code. Where nothing can be compared, their code gives NaN and this term 0:
a batch of one sample, and U where all features are equal. Batches larger than C cannot reach V = 0.
Their defaults are lam 2.5, mu 0.5, batches of 128, and a head of two layers with BatchNorm, which
is not part of this term.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.options import NonNegative, options


@options
class Uv(Loss):
    """lam = mu = 0 is the loss without it."""

    lam: NonNegative = 2.5
    """strength of V, the variance of the probabilities"""
    mu: NonNegative = 0.5
    """strength of U, the uniformity of the features"""

    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    regulariser: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        total = step.x.new_zeros(())
        if self.lam:
            total = total + self.lam * missing_deviation(step.out.logits.softmax(-1))
        if self.mu:
            total = total + self.mu * closeness(step.out.features)
        return total


def missing_deviation(p: Tensor) -> Tensor:
    """V of probabilities [B, C]; 0 if B is 1."""
    batch, classes = p.shape
    if batch == 1:
        return p.new_zeros(())
    return (classes**-0.5 - p.std(0)).clamp_min(0).mean()


def closeness(f: Tensor) -> Tensor:
    """U of features [B, q]; 0 if all are equal."""
    rows, columns = torch.triu_indices(len(f), len(f), offset=1, device=f.device)
    distances = (f[:, None] - f[None]).square().sum(-1)[rows, columns]
    apart = distances[distances > 0]
    if len(apart) == 0:
        return f.new_zeros(())
    return (-distances / apart.median()).exp().mean()
