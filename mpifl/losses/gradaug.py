"""GradAug (Yang et al. 2020, eq. 3): narrow sub-networks learn the full network's predictions.

It is done as FedAlign runs it.

    mu sum_i KL(softmax(full logits, detached) || softmax(logits_i))

logits_i are those of sub-network i on resized images.

One sub-network has the least width, the others' widths are uniform in [width, 1]; each sees the
images at a random resolution. Sub-networks use batch statistics and leave the running ones alone.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.models.layers import untracked
from mpifl.options import NonNegative, Share, options


@options
class GradAug(Loss):
    """The strength is the paper's for n = 2; 2.0 for n = 1, 1.5 for n = 3, 1.25 for n = 4."""

    mu: NonNegative = 1.75
    """strength"""
    n: Annotated[int, Ge(1), Le(16)] = 2
    """sub-networks in a step; the passes of all are in memory at once"""
    width: Share = 0.8
    """the least width"""
    narrowest: bool = True
    """whether one sub-network always has the least width, as in the code; else all are drawn"""
    resolutions: Annotated[tuple[Share, ...], Field(min_length=1)] = (1.0, 0.875, 0.75, 0.625)
    """shares of the image's sides; one of them is drawn for each sub-network"""

    needs: ClassVar[frozenset[str]] = frozenset({"width"})
    regulariser: ClassVar[bool] = True

    @property
    def varies(self) -> bool:
        return self.mu > 0

    def __call__(self, step: Step) -> Tensor:
        if self.mu == 0:
            return step.x.new_zeros(())
        target = step.out.logits.detach()
        random = step.random("gradaug")
        least = [self.width] if self.narrowest else []
        widths = [*least, *random.uniform(self.width, 1.0, self.n - len(least))]
        total = step.x.new_zeros(())
        for width in sorted(widths, reverse=True):
            total = total + self._divergence(step, target, width, random)
        return self.mu * total

    def _divergence(
        self, step: Step, target: Tensor, width: float, random: np.random.Generator
    ) -> Tensor:
        x = step.x
        share = random.choice(self.resolutions)
        pixels = [max(1, round(side * share)) for side in x.shape[-2:]]
        if pixels != list(x.shape[-2:]):
            x = functional.interpolate(x, size=pixels, mode="bilinear", align_corners=True)
        with untracked(step.net.module):
            narrow = step.net(x, width=width).logits
        return functional.kl_div(narrow.log_softmax(-1), target.softmax(-1), reduction="batchmean")
