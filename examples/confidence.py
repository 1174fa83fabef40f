"""A loss. Confidence penalty (Pereyra et al. 2017, eq. 4): the negative entropy of the predictions.

local.loss = "ce + confidence(beta=0.2)"
"""

from typing import ClassVar

from torch import Tensor

from mpifl import register
from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.options import NonNegative, options


@register("confidence")
@options
class ConfidencePenalty(Loss):
    """beta * mean over the batch of sum_k p_k log p_k."""

    beta: NonNegative = 0.1
    """strength"""

    regulariser: ClassVar[bool] = True  # looks at no label: needs a loss that does beside it

    def __call__(self, step: Step) -> Tensor:
        if self.beta == 0:
            return step.x.new_zeros(())
        log_p = step.out.logits.log_softmax(-1)
        return self.beta * (log_p.exp() * log_p).sum(-1).mean()
