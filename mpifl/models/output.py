"""What every model returns: logits, and whatever of the forward pass a loss may want to look at."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Output(NamedTuple):
    """One forward pass. With gradients off (`torch.no_grad()`) `activations` and `stages` are empty."""

    logits: Tensor
    """[B, classes]"""
    features: Tensor
    """[B, q]: what enters the classifier, after the projection head and the feature norm where there are any"""
    activations: tuple[Tensor, ...] = ()
    """outputs of every hidden nonlinearity, in order of computation; convolutions' before pooling"""
    stages: tuple[Tensor, ...] = ()
    """ResNets: what enters the first stage, then each stage's output"""


class Kept:
    """Collects tensors for `Output`, but only while gradients are on.

    Autograd holds them then in any case. With gradients off they would be all that is held, and an evaluation's memory
    would grow from one layer's to the whole network's.
    """

    def __init__(self) -> None:
        self._on = torch.is_grad_enabled()
        self._tensors: list[Tensor] = []

    def add(self, tensor: Tensor) -> None:
        if self._on:
            self._tensors.append(tensor)

    def all(self) -> tuple[Tensor, ...]:
        return tuple(self._tensors)
