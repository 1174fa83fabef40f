"""FedLC (Zhang et al. 2022, eq. 8): cross-entropy on logits lowered by tau n_k^(-1/4).

n_k is the client's number of samples of class k.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step, for_all_steps
from mpifl.options import NonNegative, options


@options
class FedLC(Loss):
    """Replaces `ce`, in training only; tau = 0 is cross-entropy.

    The softmax leaves out classes that the client does not have.

    By the paper's formula, a client with a single class has loss 0 and learns nothing.
    """

    tau: NonNegative = 1.0
    """strength: the factor of the margins"""

    def __call__(self, step: Step) -> Tensor:
        if self.tau == 0:
            return functional.cross_entropy(step.out.logits, step.y)
        margin, absent = step.given(self._of_client)
        logits = step.out.logits
        lowered = (logits - margin.to(logits)).masked_fill(absent, -1e9)
        return functional.cross_entropy(lowered, step.y)

    @for_all_steps
    def _of_client(self, step: Step) -> tuple[Tensor, Tensor]:
        """The margins (float64), and whether the client lacks a class: [classes] both."""
        counts = step.context.counts
        margin = torch.from_numpy(self.tau * np.maximum(counts, 1.0) ** -0.25)
        absent = torch.from_numpy(counts == 0)
        return step.net.placed(margin), step.net.placed(absent)
