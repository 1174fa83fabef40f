"""Mixup (Zhang et al. 2018, eq. 1): a loss on convex combinations of pairs of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from mpifl.losses.loss import Wrapper
from mpifl.losses.step import Step
from mpifl.options import NonNegative, options


@options
class Mixup(Wrapper):
    """lam loss(x~, y) + (1 - lam) loss(x~, y') with x~ = lam x + (1 - lam) x'.

    x', y' are the batch in another order; each batch has one lam ~ Beta(gamma, gamma). gamma = 0
    leaves the loss as it is.
    """

    gamma: NonNegative = 0.1
    """both parameters of the Beta distribution of lam"""

    def __call__(self, step: Step) -> Tensor:
        if self.gamma == 0:
            return self.loss(step)
        (lam, rest), order = step.given(self._drawn)
        mixed = step.derived(x=lam * step.x + rest * step.x.index_select(0, order))
        loss = lam * self.loss(mixed)
        return loss + rest * self.loss(mixed.relabelled(step.y.index_select(0, order)))

    def _drawn(self, step: Step) -> tuple[Tensor, Tensor]:
        """(lam, 1 - lam) [2], and the other order of the batch, int64 [B]."""
        random = step.random("mixup")
        lam = random.beta(self.gamma, self.gamma)
        shares = torch.tensor([lam, 1 - lam], dtype=step.x.dtype)
        order = torch.from_numpy(random.permutation(len(step.y)))
        return step.net.placed(shares), step.net.placed(order)
