"""FedRS (Li and Zhan 2021): cross-entropy with a restricted softmax, on logits r_k z_k.

    by = "presence":  r_k = 1 for a class that the client has, alpha for one that it lacks
    by = "share":     r_k = alpha + (1 - alpha) n_k / max n

n_k is the client's number of samples of class k. `presence` is the paper's rule, as the codes of
FedDecorr and FedLN have it; `share` is in the authors' released code, whose logits have no bias.
As r scales logits, it raises negative ones. Alpha: 0.9, 0.5 and 0.1 in the authors' runs, 0.5 in
FedDecorr's, 1 (which is cross-entropy) by default in FedLN's.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step, for_all_steps
from mpifl.options import Fraction, options


@options
class Rs(Loss):
    """Replaces `ce`, in training only; alpha = 1 is cross-entropy."""

    alpha: Fraction = 0.5
    """factor on the logits of classes that the client lacks"""
    by: Literal["presence", "share"] = "presence"
    """what the factor depends on: whether the client has the class, or how much of it"""

    def __call__(self, step: Step) -> Tensor:
        logits = step.out.logits
        if self.alpha == 1:
            return functional.cross_entropy(logits, step.y)
        factors = step.given(self._factors).to(logits)
        return functional.cross_entropy(logits * factors, step.y)

    @for_all_steps
    def _factors(self, step: Step) -> Tensor:
        """r, float64 [classes]."""
        counts = step.context.counts
        if self.by == "presence":
            factors = np.where(counts > 0, 1.0, self.alpha)
        else:
            factors = self.alpha + (1 - self.alpha) * counts / counts.max()
        return step.net.placed(torch.from_numpy(factors))
