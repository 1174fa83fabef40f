"""FedNTD (Lee et al. 2022): the sent model teaches the client all classes but the true one.

    beta mean_i KL(t || q),  t = softmax(u_{-y} / tau),  q = softmax(z_{-y} / tau)

z are the client's logits and u those of the model that it was sent, frozen and in evaluation mode;
{-y} leaves out the true class of the sample. The term moves no logit of a true class. The factor
tau^2 of other distillations is absent, as in the authors' code; there the teacher keeps the mode in
which it was copied. Their runs have tau 1, beta 1, five local epochs, lr 0.01 falling by 1 % a
round, momentum 0.9. With two classes there is nothing to teach, and the term is 0.

`leave_out = "frequent"` is FedLMD (Lu et al. 2023), as its authors' code has it: the teacher also
leaves out the classes that the client has more often than its mean class, unless no class would be
left; and the term is multiplied by tau^2.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step, for_all_steps, sent
from mpifl.options import NonNegative, Positive, options


@options
class Ntd(Loss):
    """beta = 0 is the loss without it."""

    beta: NonNegative = 1.0
    """strength"""
    tau: Positive = 1.0
    """temperature"""
    leave_out: Literal["label", "frequent"] = "label"
    """what the teacher leaves out: the true class (FedNTD); or the client's frequent ones too
    (FedLMD)
    """

    regulariser: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        if self.beta == 0:
            return step.x.new_zeros(())
        teacher = step.given(sent)
        with torch.no_grad():
            u = teacher(step.x, **step.frozen).logits
        z = step.out.logits
        if self.leave_out == "label":
            return self.beta * divergence(z, u, step.y, self.tau)
        frequent = step.given(_frequent)
        return self.beta * self.tau**2 * divergence(z, u, step.y, self.tau, frequent)


def divergence(
    z: Tensor, u: Tensor, y: Tensor, tau: float, frequent: Tensor | None = None
) -> Tensor:
    """mean KL(t || q) of the logits z of a client and u of its teacher, [B, C].

    The teacher leaves out the `frequent` classes (bool [C]) of a sample, if that leaves one.
    """
    target = _others(u, y) / tau
    if frequent is not None:
        left_out = _others(frequent.expand_as(u), y)
        leaves_one = ~left_out.all(dim=-1, keepdim=True)
        target = target.masked_fill(left_out & leaves_one, -1e9)
    return functional.kl_div(
        functional.log_softmax(_others(z, y) / tau, dim=-1),
        functional.log_softmax(target, dim=-1),
        reduction="batchmean",
        log_target=True,
    )


@for_all_steps
def _frequent(step: Step) -> Tensor:
    """Whether the client has more of a class than of its mean class, bool [C]."""
    counts = step.context.counts
    return step.net.placed(torch.from_numpy(counts > np.mean(counts)))


def _others(values: Tensor, y: Tensor) -> Tensor:
    """Of `values [B, C]` those of all classes but the true one [B, C - 1]."""
    place = torch.arange(values.shape[1] - 1, device=values.device)
    return values.gather(1, place + (place >= y[:, None]))
