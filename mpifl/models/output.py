"""What every model returns: logits, and whatever of the forward pass a loss may want to look at."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

KEEPABLE = frozenset({"inputs", "squares"})
"""what a forward pass keeps beside activations where it is told so"""

Keep = frozenset[str]


class Output(NamedTuple):
    """One forward pass. With gradients off (`torch.no_grad()`) all but logits and features are
    empty.
    """

    logits: Tensor
    """[B, classes]"""
    features: Tensor
    """[B, q]: what enters the classifier, after the projection head and the feature norm where
    there are any
    """
    activations: tuple[Tensor, ...] = ()
    """outputs of every hidden nonlinearity, in order of computation; convolutions' before pooling
    """
    stages: tuple[Tensor, ...] = ()
    """ResNets: what enters the first stage, then each stage's output"""
    places: tuple[int, ...] = ()
    """of each activation among all of the network's, from 0: a branch that was skipped leaves a gap
    """
    inputs: tuple[Tensor, ...] = ()
    """of the same nonlinearities, where the pass was told `keep` "inputs" """
    squares: tuple[Tensor, ...] = ()
    """||a||^2 of each activation, where it was told `keep` "squares": cheaper here than afterwards
    """


class Sites(NamedTuple):
    """A network's hidden nonlinearities, counted from 0 in order of computation."""

    count: int
    blocks: tuple[int, ...] = ()
    """ResNets: those that end a residual block"""
    stages: tuple[int, ...] = ()
    """ResNets: those that end a stage"""


class Kept:
    """Applies nonlinearities and collects what `Output` has of them, but only while gradients are
    on.

    Autograd holds activations then in any case. With gradients off they would be all that is held,
    and an evaluation's memory would grow from one layer's to the whole network's.
    """

    def __init__(self, keep: Keep = frozenset()) -> None:
        self._on = torch.is_grad_enabled()
        self._keep = keep if self._on else frozenset()
        self._place = 0
        self._tensors: dict[str, list] = {
            name: [] for name in ("activations", "places", "stages", *KEEPABLE)
        }

    def relu(self, x: Tensor) -> Tensor:
        """max(x, 0), in place: `x` must be nobody else's. So a training step of ResNet-56 is 8 %
        shorter.
        """
        if "inputs" in self._keep:
            self._add("inputs", x)
            x = x.clone()
        if "squares" in self._keep:
            x, square = SquaredRelu.apply(x)
            self._add("squares", square)
        else:
            x = torch.relu_(x)
        return self._activation(x)

    def gelu(self, x: Tensor) -> Tensor:
        """x times the normal distribution function of x."""
        if "inputs" in self._keep:
            self._add("inputs", x)
        x = F.gelu(x)
        if "squares" in self._keep:
            self._add("squares", x.square().sum())
        return self._activation(x)

    def skip(self, count: int) -> None:
        """So many nonlinearities are passed over."""
        self._place += count

    def stage(self, x: Tensor) -> None:
        """Keep `x` as what enters the first stage, or as the next stage's output."""
        self._add("stages", x)

    def output(self, logits: Tensor, features: Tensor) -> Output:
        return Output(
            logits, features, **{name: tuple(tensors) for name, tensors in self._tensors.items()}
        )

    def _activation(self, x: Tensor) -> Tensor:
        self._add("activations", x)
        self._add("places", self._place)
        self._place += 1
        return x

    def _add(self, name: str, value: Tensor | int) -> None:
        if self._on:
            self._tensors[name].append(value)


class SquaredRelu(torch.autograd.Function):
    """a = max(x, 0) in place, and ||a||^2.

    The gradient of ||a||^2 joins a's own where the ReLU's is made: one pass over memory, where
    autograd, which sees two users of a, takes five.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.relu_(x)
        ctx.mark_dirty(a)
        ctx.save_for_backward(a)
        # no copy in channels-last either
        flat = (a if a.is_contiguous() else a.movedim(1, -1)).reshape(-1)
        return a, flat @ flat

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor, of_square: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward.default(gradient, a, 0).addcmul_(
            a, of_square, value=2
        )
