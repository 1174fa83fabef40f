"""Local optimisers: what becomes of a step's gradient before weight decay and descent.

AdamW (Loshchilov & Hutter 2019, algorithm 2), for a gradient g with all terms, clipped, in step t:

    m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
    y <- y - lr (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + decay y)

With local.weight_decay = 0 it is Adam.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from mpifl.options import Positive, options
from mpifl.training.messages import Vectors

Decay = Annotated[float, Ge(0), Lt(1)]


@options
class Optimizer(ABC):
    """What `local.optimizer` may be."""

    @abstractmethod
    def initial(self, w: Tensor) -> Vectors:
        """The moments before the first step."""


@options
class Sgd(Optimizer):
    """Stochastic gradient descent, with `local.momentum`."""

    def initial(self, w: Tensor) -> Vectors:
        return {}


@options
class AdamW(Optimizer):
    """Adam with decoupled weight decay; `local.momentum_state` says whether its moments begin at
    zero in each round.
    """

    beta1: Decay = 0.9
    """decay of the mean of gradients"""
    beta2: Decay = 0.999
    """decay of the mean of their squares"""
    eps: Positive = 1e-8
    """added to the root of the squares' mean"""

    def initial(self, w: Tensor) -> Vectors:
        """The moments before the first step: m and v [d], and the number of steps t [1]."""
        t = torch.zeros(1, dtype=torch.int64, device=w.device)
        return {"m": torch.zeros_like(w), "v": torch.zeros_like(w), "t": t}


class Moments:
    """AdamW's moments during one client's round, from copies of what it has kept."""

    def __init__(self, adamw: AdamW, kept: Vectors) -> None:
        self._adamw = adamw
        self._m = kept["m"].clone()
        self._v = kept["v"].clone()
        self._t = int(kept["t"])

    def direction(self, g: Tensor) -> Tensor:
        """What a step takes in place of the gradient `g [d]`; a new tensor."""
        adamw = self._adamw
        self._t += 1
        self._m.mul_(adamw.beta1).add_(g, alpha=1 - adamw.beta1)
        self._v.mul_(adamw.beta2).addcmul_(g, g, value=1 - adamw.beta2)
        size = (self._v / (1 - adamw.beta2**self._t)).sqrt_().add_(adamw.eps)
        return (self._m / (1 - adamw.beta1**self._t)).div_(size)

    def vectors(self) -> Vectors:
        """What the client may keep."""
        t = torch.full((1,), self._t, dtype=torch.int64, device=self._m.device)
        return {"m": self._m, "v": self._v, "t": t}


OPTIMIZERS = {"sgd": Sgd, "adamw": AdamW}
