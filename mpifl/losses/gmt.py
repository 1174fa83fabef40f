"""FedGMT's term (Li et al. 2025): the server's averaged model teaches the client.

    gamma tau^2 mean_i KL(softmax(z_e / tau) || softmax(z_y / tau))

z_e are the logits of the model with the weights `average` that `algorithm = "fedgmt"` sends, frozen
and in evaluation mode; z_y are the client's. Defaults: gamma 0.5 to 2, tau 3 in the authors' code.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.net import Net
from mpifl.options import NonNegative, Positive, options


@options
class Gmt(Loss):
    """Needs `algorithm = "fedgmt"`."""

    gamma: NonNegative = 1.0
    """strength"""
    tau: Positive = 3.0
    """temperature"""

    needs: ClassVar[frozenset[str]] = frozenset({"sent.average"})
    regulariser: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        if self.gamma == 0:
            return step.x.new_zeros(())
        teacher = step.given(_teacher)
        with torch.no_grad():
            target = teacher(step.x, **step.frozen).logits / self.tau
        log_p = functional.log_softmax(step.out.logits / self.tau, dim=-1)
        divergence = functional.kl_div(
            log_p, functional.log_softmax(target, dim=-1), reduction="batchmean", log_target=True
        )
        return self.gamma * self.tau**2 * divergence


def _teacher(step: Step) -> Net:
    """The server's averaged model, frozen."""
    return step.net.twin("sent.average", step.context.models["average"])
