"""FedAlign (Mendieta et al. 2022, eq. 5-7): align the Lipschitz constants of the last stage.

It follows their code. The last stage runs a second time at width omega on the detached features
that enter it, sliced to as many channels. For its input F1, pooled to the size of its output F2,
the transmitting matrix of a sample is X = F1 F2' / (H W), and K = ||X||_2 by power iteration. The
loss is the mean squared difference of K between the narrow and the full stage, the full one
detached, scaled to mu times the cross-entropy's value: so only the last stage's weights receive a
gradient.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.models.layers import rounded
from mpifl.options import Count, NonNegative, Share, options


@options
class FedAlign(Loss):
    """Use it with gradient clipping (`local.clip = 10`).

    Its gradient grows without bound as the constants become equal.
    """

    mu: NonNegative = 0.45
    """strength, as a share of the cross-entropy"""
    width: Share = 0.25
    """width omega of the narrow stage, as a share of its channels"""
    iterations: Count = 10
    """power iterations for the spectral norm"""
    entering: Literal["slice", "whole"] = "slice"
    """F1 of the narrow stage: the channels that enter it, as in the code; or all, as in the paper's
    eq. 7
    """

    needs: ClassVar[frozenset[str]] = frozenset({"stages", "width"})
    regulariser: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        if self.mu == 0:
            return step.x.new_zeros(())
        entering, leaving = (f.detach() for f in step.out.stages[-2:])
        part = entering[:, : rounded(entering.shape[1], self.width)]
        first = part if self.entering == "slice" else entering
        narrow = lipschitz(first, step.net.module.last_stage(part, self.width), self.iterations)
        distance = functional.mse_loss(narrow, lipschitz(entering, leaving, self.iterations))
        value = functional.cross_entropy(step.out.logits.detach(), step.y)
        return self.mu * (value / distance.detach().clamp_min(1e-20)) * distance


def lipschitz(f1: Tensor, f2: Tensor, iterations: int) -> Tensor:
    """The spectral norm [B] of each sample's transmitting matrix between f1 and f2.

    f1 is [B, C1, H1, W1], f2 is [B, C2, H2, W2]. Power iteration on X X' from the vector of ones;
    gradients flow through it. It is meant for ReLU outputs: as these are not negative, it is
    accurate to float32's rounding.
    """
    h, w = f2.shape[-2:]
    f1 = functional.adaptive_avg_pool2d(f1, (h, w)).flatten(2)
    x = f1 @ f2.flatten(2).transpose(1, 2) / (h * w)
    gram = x @ x.transpose(1, 2)
    v = torch.ones_like(gram[..., :1])
    for _ in range(iterations):
        v = gram @ v
        v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-20)
    return (v.transpose(1, 2) @ gram @ v).flatten().clamp_min(1e-20).sqrt()
