"""MAN (Yashwanth et al. 2024): minimise the activations' norm.

The norm bounds the layers' Hessian eigenvalues.

    R(y) = (zeta/2) sum_l ||a_l||_F^2 / (B m_l)

a_l are the outputs of the hidden ReLUs that feed a weight layer, before pooling, logits excluded;
m_l is the number of elements a sample has there, B the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step, for_all_steps
from mpifl.models.network import Network
from mpifl.models.output import HiddenLayers
from mpifl.options import BadInput, NonNegative, NonNegativeInt, options
from mpifl.schedules import Constant, Schedule


@options
class Man(Loss):
    """The defaults are those of the authors' code for CIFAR; their zeta is 0.15 for CIFAR-100 and
    0.1 for Tiny-ImageNet.
    """

    zeta: NonNegative = 0.15
    """strength"""
    schedule: Schedule = Constant()
    """factor on zeta by round"""
    layers: (
        Literal["hidden", "hidden and logits", "blocks", "stages"]
        | Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    ) = "hidden"
    """which hidden layers; blocks, stages: the last one of each residual block, or of each stage;
    numbers: these, counted from 0
    """
    site: Literal["post", "pre"] = "post"
    """the nonlinearities' outputs, or their inputs"""
    pooled: bool = False
    """whether the activations of convolutions are taken after the 2x2 max-pool"""
    power: Literal[1, 2] = 2
    """2: squared norms; 1: norms (roots of the reduced squares)"""
    reduction: Literal["mean", "sample", "sum"] = "mean"
    """the squares' mean over elements and batch; mean over the batch only (the theory's E||a||^2;
    then zeta must be smaller by m_l); sum
    """
    across: Literal["sum", "mean"] = "sum"
    """the sum over layers, or the mean"""
    tiny_paper_bug: bool = False
    """as in the released Tiny-ImageNet code: conv1, conv2, fc1, fc2, and the batch variance of fc2
    instead of conv3
    """

    regulariser: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.tiny_paper_bug and (self.layers != "hidden" or not self._takes_squares):
            raise ValueError(
                "expected tiny_paper_bug alone to choose the layers; got layers, site or pooled too"
            )

    @property
    def needs(self) -> frozenset[str]:
        conditions = {
            "activations": True,
            "inputs": self.site == "pre",
            "squares": self._takes_squares,
            "stages": self.layers in ("blocks", "stages"),
            "pooling": self.pooled,
            "tiny_cnn's layers": self.tiny_paper_bug,
        }
        return frozenset(name for name, needed in conditions.items() if needed)

    @property
    def _takes_squares(self) -> bool:
        """Whether the forward pass computes ||a||^2 of the layers."""
        return self.site == "post" and not self.pooled

    def check(self, network: Network) -> None:
        count = network.hidden_layers.count
        if isinstance(self.layers, tuple) and max(self.layers) >= count:
            raise BadInput(
                f"local.loss: man.layers: expected numbers from 0 to {count - 1}, the model's "
                f"hidden layers; got {max(self.layers)}"
            )
        if count == 0 and self.layers != "hidden and logits":
            raise BadInput(
                "local.loss: man: expected a model with hidden layers; got one that has none"
            )

    @for_all_steps
    def _strength(self, step: Step) -> Tensor | None:
        """zeta in the round of `step`, float64; None where it is 0."""
        strength = self.zeta * self.schedule(step.context.round, step.context.rounds)
        if strength == 0:
            return None
        return step.net.placed(torch.tensor(strength, dtype=torch.float64))

    def __call__(self, step: Step) -> Tensor:
        nothing = step.x.new_zeros(())
        if isinstance(self.schedule, Constant):
            if self.zeta == 0:
                return nothing
            return self.zeta / 2 * self._size(step)
        strength = step.given(self._strength)
        if strength is None:
            return nothing
        size = self._size(step)
        if size.dtype is torch.float64:
            return strength / 2 * size
        return ((strength / 2).float() * size).to(size)  # bfloat16 would round the strength

    def _size(self, step: Step) -> Tensor:
        """How large the activations are, `[]`."""
        layers = list(self._layers(step))
        if not layers:
            return step.x.new_zeros(())
        squares = torch.stack([square for square, _ in layers])
        sizes = squares / squares.new_tensor(self._divisors(layers, len(step.y)))
        if self.power == 1:
            sizes = (sizes + 1e-12).sqrt()
        if self.tiny_paper_bug and len(step.y) > 1:
            sizes = torch.cat([sizes, step.out.activations[4].var(0).mean(0, keepdim=True)])
        return sizes.mean() if self.across == "mean" else sizes.sum()

    def _divisors(self, layers: list[tuple[Tensor, int]], batch: int) -> list[int]:
        """What `reduction` divides the squares by: one number for each layer, or one for all."""
        if self.reduction == "mean":
            return [elements for _, elements in layers]
        return [batch] if self.reduction == "sample" else [1]

    def _layers(self, step: Step) -> Iterator[tuple[Tensor, int]]:
        """||a||^2 and the number of elements of each chosen layer that the forward pass has."""
        out = step.out
        chosen = self._chosen(step.net.module.hidden_layers)
        for index, layer in enumerate(out.layer_numbers):
            if layer not in chosen:
                continue
            a = out.activations[index]
            if self._takes_squares:
                yield out.squares[index], a.numel()
                continue
            if self.site == "pre":
                a = out.inputs[index]
            if self.pooled and a.dim() == 4:
                a = functional.max_pool2d(a, 2)
            yield a.square().sum(), a.numel()
        if self.layers == "hidden and logits":
            yield out.logits.square().sum(), out.logits.numel()

    def _chosen(self, hidden: HiddenLayers) -> set[int]:
        """The numbers of the layers that count."""
        if self.tiny_paper_bug:
            return {0, 1, 3, 4}
        if isinstance(self.layers, tuple):
            return set(self.layers)
        if self.layers == "blocks":
            return set(hidden.ends_of_blocks)
        if self.layers == "stages":
            return set(hidden.ends_of_stages)
        return set(range(hidden.count))
