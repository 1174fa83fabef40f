"""Cross-entropy of the logits, with optional label smoothing: what every method starts from."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.options import Fraction, options


@options
class CrossEntropy(Loss):
    """The mean over the batch of -log softmax(logits)[y].

    Smoothing s puts s/K of the target on each of K classes.
    """

    smoothing: Fraction = 0.0
    """label smoothing s"""

    def __call__(self, step: Step) -> Tensor:
        return functional.cross_entropy(step.out.logits, step.y, label_smoothing=self.smoothing)
