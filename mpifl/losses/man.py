"""MAN (Yashwanth et al. 2024): minimise the activations' norm, an upper bound on the layers' Hessian eigenvalues.

    R(y) = (zeta/2) sum_l ||a_l||_F^2 / (B m_l)

a_l are the outputs of the hidden ReLUs that feed a weight layer, before pooling, logits excluded; m_l is the number of
elements a sample has there, B the batch.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.models.output import Output
from mpifl.settings import NonNegative, options


@options
class Man(Loss):
    """The defaults are the authors' code for CIFAR; zeta is 0.15 for CIFAR-100 and 0.1 for Tiny-ImageNet."""

    zeta: NonNegative = 0.15
    layers: Literal["hidden", "hidden and logits", "blocks"] = "hidden"
    """blocks: the outputs of a residual network's stages, and no others"""
    pooled: bool = False
    """take convolutions after a 2x2 max-pool"""
    power: Literal[1, 2] = 2
    """2: squared norms; 1: their roots, of what the reduction leaves"""
    reduction: Literal["mean", "sample", "sum"] = "mean"
    """of squares: over elements and batch; over the batch only (the theory's E||a||^2; zeta shrinks by m_l); none"""
    across: Literal["sum", "mean"] = "sum"
    """over layers"""
    tiny_paper_bug: bool = False
    """the released Tiny-ImageNet code: conv1, conv2, fc1, fc2 and the batch variance of fc2 in place of conv3"""

    regulariser: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"stages" if self.layers == "blocks" else "activations"})

    def __call__(self, step: Step) -> Tensor:
        if self.zeta == 0:
            return step.x.new_zeros(())
        terms = [self._size(a) for a in self._sites(step.out)]
        if self.tiny_paper_bug and len(step.y) > 1:
            terms.append(step.out.activations[-1].var(0).mean())
        total = sum(terms) / (len(terms) if self.across == "mean" else 1)
        return self.zeta / 2 * total

    def _sites(self, out: Output) -> list[Tensor]:
        sites = list(out.stages[1:] if self.layers == "blocks" else out.activations)
        if self.tiny_paper_bug:
            if [a.dim() for a in sites] != [4, 4, 4, 2, 2]:
                raise ValueError("man.tiny_paper_bug: expected three convolutions and two hidden layers: tiny_cnn")
            del sites[2]
        if self.pooled:
            sites = [functional.max_pool2d(a, 2) if a.dim() == 4 else a for a in sites]
        return [*sites, out.logits] if self.layers == "hidden and logits" else sites

    def _size(self, a: Tensor) -> Tensor:
        square = SquaredNorm.apply(a) / {"mean": a.numel(), "sample": len(a), "sum": 1}[self.reduction]
        return square if self.power == 2 else (square + 1e-12).sqrt()


class SquaredNorm(torch.autograd.Function):
    """||a||^2 of a whole tensor, one pass forward and one back; autograd's own product of a with a takes three back."""

    @staticmethod
    def forward(ctx, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        flat = a.permute(0, 2, 3, 1).reshape(-1) if a.dim() == 4 else a.reshape(-1)  # no copy in channels-last
        return flat @ flat

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return a * (2 * gradient)
