"""Server optimizers: a step along D = target - w.

From Reddi et al. (2021, algorithm 2) and, for momentum, Hsu et al. (2019). An algorithm whose
server moves to a target, such as the mean of the clients' models, can use one. They change weights
only, never BatchNorm's buffers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from mpifl.options import Named, Positive, options
from mpifl.training.messages import Vectors

Decay = Annotated[float, Ge(0), Lt(1)]


@options
class ServerOptimizer(ABC):
    """How the server moves its weights towards a target."""

    @abstractmethod
    def init(self, w: Tensor) -> Vectors:
        """Its state before the first round."""

    @abstractmethod
    def __call__(self, w: Tensor, target: Tensor, state: Vectors) -> tuple[Tensor, Vectors]:
        """The next weights [d] and the next state, from the weights `w [d]` and a `target [d]`."""


@options
class Sgd(ServerOptimizer):
    """A step along D, with momentum: FedAvgM (Hsu et al. 2019).

    m <- beta m + D;  w <- w + lr m.

    With lr 1 and no momentum the next weights are the target itself, bit for bit.
    """

    lr: Positive = 1.0
    """learning rate of the server; 1 without momentum: the target itself"""
    momentum: Decay = 0.0
    """momentum beta of the server (FedAvgM)"""

    def init(self, w: Tensor) -> Vectors:
        return {"m": torch.zeros_like(w)} if self.momentum else {}

    def __call__(self, w: Tensor, target: Tensor, state: Vectors) -> tuple[Tensor, Vectors]:
        if not self.momentum and self.lr == 1.0:
            return target, state
        if not self.momentum:
            return w + self.lr * (target - w), state
        m = self.momentum * state["m"] + (target - w)
        return w + self.lr * m, {**state, "m": m}


@options
class Adaptive(ServerOptimizer):
    """m <- beta1 m + (1 - beta1) D;  w <- w + lr m / (sqrt(v) + tau).

    Each subclass has its own v.
    """

    lr: Positive = 0.1
    """learning rate of the server"""
    beta1: Decay = 0.9
    """decay of the first moment m"""
    tau: Positive = 1e-3
    """added to the root of the second moment v"""
    start: Literal["tau2", "zero"] = "tau2"
    """where v begins: at tau^2 (the paper), or at 0 (some codes for FedAdam)"""

    def init(self, w: Tensor) -> Vectors:
        first = self.tau**2 if self.start == "tau2" else 0.0
        return {"m": torch.zeros_like(w), "v": torch.full_like(w, first)}

    @abstractmethod
    def second_moment(self, v: Tensor, squares: Tensor) -> Tensor:
        """The next v from v and D^2."""

    def __call__(self, w: Tensor, target: Tensor, state: Vectors) -> tuple[Tensor, Vectors]:
        delta = target - w
        m = self.beta1 * state["m"] + (1 - self.beta1) * delta
        v = self.second_moment(state["v"], delta.square())
        return w + self.lr * m / (v.sqrt() + self.tau), {**state, "m": m, "v": v}


@options
class Adagrad(Adaptive):
    """FedAdagrad (Reddi et al. 2021): the step is divided by the root of a sum of squares.

    v <- v + D^2;  m <- beta1 m + (1 - beta1) D;  w <- w + lr m / (sqrt(v) + tau).
    """

    def second_moment(self, v: Tensor, squares: Tensor) -> Tensor:
        return v + squares


@options
class Adam(Adaptive):
    """FedAdam (Reddi et al. 2021): the step is divided by the root of a mean of squares.

    v <- beta2 v + (1 - beta2) D^2;  m, w as for adagrad.
    """

    beta2: Decay = 0.99
    """decay of the second moment v"""

    def second_moment(self, v: Tensor, squares: Tensor) -> Tensor:
        return self.beta2 * v + (1 - self.beta2) * squares


@options
class Yogi(Adaptive):
    """FedYogi (Reddi et al. 2021): as FedAdam, but v falls slowly.

    v <- v - (1 - beta2) D^2 sign(v - D^2);  m, w as for adagrad.
    """

    beta2: Decay = 0.99
    """decay of the second moment v"""

    def second_moment(self, v: Tensor, squares: Tensor) -> Tensor:
        return v - (1 - self.beta2) * squares * (v - squares).sign()


SERVER_OPTIMIZERS: dict[str, type[ServerOptimizer]] = {
    "sgd": Sgd,
    "adagrad": Adagrad,
    "adam": Adam,
    "yogi": Yogi,
}

Optimizer = Annotated[ServerOptimizer, Named(SERVER_OPTIMIZERS, "sgd")]
"""the type of an option that is a server optimizer, chosen by name"""
