"""MAN (Yashwanth et al. 2024): minimise the activations' norm, an upper bound on the layers'
Hessian eigenvalues.

    R(y) = (zeta/2) sum_l ||a_l||_F^2 / (B m_l)

a_l are the outputs of the hidden ReLUs that feed a weight layer, before pooling, logits excluded;
m_l is the number of elements a sample has there, B the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.models.output import Sites
from mpifl.options import BadInput, NonNegative, NonNegativeInt, options
from mpifl.schedules import Constant, Schedule


@options
class Man(Loss):
    """The defaults are the authors' code for CIFAR; zeta is 0.15 for CIFAR-100 and 0.1 for
    Tiny-ImageNet.
    """

    zeta: NonNegative = 0.15
    schedule: Schedule = Constant()
    """factor on zeta by round"""
    layers: (
        Literal["hidden", "hidden and logits", "blocks", "stages"]
        | Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    ) = "hidden"
    """blocks, stages: the last of each residual block, or stage, only; numbers: these of the hidden
    layers, from 0
    """
    site: Literal["post", "pre"] = "post"
    """the nonlinearities' outputs, or their inputs"""
    pooled: bool = False
    """take convolutions after the 2x2 max-pool that follows them"""
    power: Literal[1, 2] = 2
    """2: squared norms; 1: their roots, of what the reduction leaves"""
    reduction: Literal["mean", "sample", "sum"] = "mean"
    """of squares: over elements and batch; over the batch only (the theory's E||a||^2; zeta shrinks
    by m_l); none
    """
    across: Literal["sum", "mean"] = "sum"
    """over layers"""
    tiny_paper_bug: bool = False
    """the released Tiny-ImageNet code: conv1, conv2, fc1, fc2 and the batch variance of fc2 in
    place of conv3
    """

    regulariser: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.tiny_paper_bug and (self.layers, self._ready) != ("hidden", True):
            raise ValueError(
                "expected tiny_paper_bug alone to choose the layers; got layers, site or pooled too"
            )

    @property
    def needs(self) -> frozenset[str]:
        asked = {
            "inputs": self.site == "pre",
            "squares": self._ready,
            "stages": self.layers in ("blocks", "stages"),
            "pooling": self.pooled,
            "tiny_cnn's layers": self.tiny_paper_bug,
        }
        return frozenset({"activations", *(name for name, wanted in asked.items() if wanted)})

    @property
    def _ready(self) -> bool:
        """Whether the forward pass can bring ||a||^2."""
        return self.site == "post" and not self.pooled

    def check(self, module: nn.Module) -> None:
        if isinstance(self.layers, tuple) and (beyond := max(self.layers)) >= module.sites.count:
            raise BadInput(
                f"local.loss: man.layers: expected numbers from 0 to {module.sites.count - 1}, the model's hidden "
                f"layers; got {beyond}"
            )
        if not module.sites.count and self.layers != "hidden and logits":
            raise BadInput(
                "local.loss: man: expected a model with hidden layers; got one that has none"
            )

    def __call__(self, step: Step) -> Tensor:
        strength = self.zeta * self.schedule(step.context.round, step.context.rounds)
        layers = list(self._layers(step)) if strength else []
        if not layers:
            return step.x.new_zeros(())
        squares, elements = zip(*layers, strict=True)
        divisors = {"mean": elements, "sample": [len(step.y)], "sum": [1]}[self.reduction]
        sizes = torch.stack(squares) / squares[0].new_tensor(divisors)
        sizes = sizes if self.power == 2 else (sizes + 1e-12).sqrt()
        if self.tiny_paper_bug and len(step.y) > 1:
            sizes = torch.cat([sizes, step.out.activations[4].var(0).mean(0, keepdim=True)])
        return strength / 2 * (sizes.mean() if self.across == "mean" else sizes.sum())

    def _layers(self, step: Step) -> Iterator[tuple[Tensor, int]]:
        """||a||^2 and the number of elements of each layer that the pass met."""
        out, chosen = step.out, self._places(step.net.module.sites)
        for number, (place, a) in enumerate(zip(out.places, out.activations, strict=True)):
            if place in chosen and self._ready:
                yield out.squares[number], a.numel()
            elif place in chosen:
                a = out.inputs[number] if self.site == "pre" else a
                a = functional.max_pool2d(a, 2) if self.pooled and a.dim() == 4 else a
                yield a.square().sum(), a.numel()
        if self.layers == "hidden and logits":
            yield out.logits.square().sum(), out.logits.numel()

    def _places(self, sites: Sites) -> set[int]:
        if self.tiny_paper_bug:
            return {0, 1, 3, 4}
        named = {"blocks": sites.blocks, "stages": sites.stages}
        return set(
            self.layers
            if isinstance(self.layers, tuple)
            else named.get(self.layers, range(sites.count))
        )
