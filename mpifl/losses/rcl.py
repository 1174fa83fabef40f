"""FedRCL (Seo et al. 2024): a contrastive loss that keeps a class from collapsing, at each level.

    a mean SCL_i + b mean PEN_i, over levels and samples
    SCL_i = log(1 + sum_neg exp((s_neg - pos_i) / tau))
    PEN_i = log(1 + exp((r_i - 1) / tau))

Levels are the stem and the stages of a ResNet, each before its last ReLU, averaged over positions
and scaled to norm 1; s_ij are their cosines. pos_i is the least s_ij in the sample's class, i
itself included, and neg are the two greatest s_ij of other classes. r_i is the least s_ij in the
class, j other than i, if that is 0.7 or more; else the constant -1. This is the authors' code: of
the pairs in a class only the least similar one can be penalised. A batch of one class has SCL 0.
Their defaults are tau 0.05 and a = b = 1, with batches of 50, no momentum, decay 1e-3, clip 10.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.options import NonNegative, Positive, options

_NEGATIVES = 2
_SIMILAR = 0.7


@options
class Rcl(Loss):
    """a = b = 0 is the loss without it."""

    a: NonNegative = 1.0
    """strength of the contrast between classes"""
    b: NonNegative = 1.0
    """strength of the penalty for samples of a class that are too similar"""
    tau: Positive = 0.05
    """temperature"""

    needs: ClassVar[frozenset[str]] = frozenset({"inputs", "stages"})
    regulariser: ClassVar[bool] = True
    """it looks at labels, but alone it would not train the classifier"""

    def __call__(self, step: Step) -> Tensor:
        total = step.x.new_zeros(())
        if self.a == 0 and self.b == 0:
            return total
        levels = self._levels(step)
        for level in levels:
            contrast, penalty = relaxed_contrast(level, step.y, self.tau)
            total = total + self.a * contrast.mean() + self.b * penalty.mean()
        return total / len(levels)

    def _levels(self, step: Step) -> list[Tensor]:
        """The inputs of the nonlinearities that end the stem and the stages, [B, channels]."""
        chosen = {0, *step.net.module.hidden_layers.ends_of_stages}
        out = step.out
        levels = []
        for number, entering in zip(out.layer_numbers, out.inputs, strict=True):
            if number in chosen:
                levels.append(entering.mean((2, 3)))
        return levels


def relaxed_contrast(f: Tensor, y: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """SCL_i and PEN_i [B] of one level's features [B, q]."""
    unit = functional.normalize(f, dim=-1)
    s = unit @ unit.T
    same = y[:, None] == y
    itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
    nothing = s.new_full((), math.inf)
    least = s.where(same, nothing).amin(1, keepdim=True)
    greatest, _ = s.where(~same, -nothing).topk(min(_NEGATIVES, len(y)), dim=1)
    exponents = torch.cat([torch.zeros_like(least), (greatest - least) / tau], dim=1)
    contrast = exponents.logsumexp(1)
    least_other = s.where(same & ~itself, nothing).amin(1)
    is_similar = (least_other >= _SIMILAR) & least_other.isfinite()
    penalised = least_other.where(is_similar, s.new_full((), -1.0))
    return contrast, functional.softplus((penalised - 1) / tau)
