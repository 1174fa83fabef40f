"""SCAFFOLD (Karimireddy et al. 2020, algorithm 1, option II): steps with control variates.

    y <- y - lr (g - c_c + c)
    c_c+ = c_c - c + (w - y) / (lr a_c);   c <- c + sum_S p_c (c_c+ - c_c)

a_c is the sum of the weights of the steps' gradients in (w - y) / lr: the number of steps if there
is neither momentum nor a quadratic term. With local momentum, the number of steps in place of a_c
makes the controls diverge. So does momentum of earlier rounds (`momentum_state = "persist"`),
unless it is taken out of w - y.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.options import Fraction, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.local import Trained
from mpifl.training.messages import Vectors


def mean_gradient(w: Tensor, trained: Trained) -> Tensor | None:
    """The mean gradient (w - y) / (lr a_c) of a client's steps.

    The part of w - y that comes from momentum of earlier rounds is taken out first. None at a rate
    of 0, and at one so small that it is 0 in the weights' dtype: then y = w, and the steps tell
    nothing.
    """
    rate = trained.lr * trained.accumulated
    if rate < torch.finfo(w.dtype).tiny:
        return None
    way = w - trained.y
    if trained.carried is not None:
        way = way - trained.lr * trained.carried
    return way / rate


def renewed(control: Tensor, shared: Tensor, w: Tensor, trained: Trained) -> Tensor:
    """A client's next control variate, c_c - c + (w - y) / (lr a_c)."""
    gradient = mean_gradient(w, trained)
    return control.clone() if gradient is None else control - shared + gradient


@options
class Scaffold(Algorithm):
    """After every round, the server's control is the weighted mean of all clients' controls."""

    strength: Fraction = 1.0
    """factor on c - c_c in a step; 0.1 in the authors' code of FedLESAM-S"""
    server_optimizer: Optimizer = Sgd()
    """how the server moves towards the mean"""

    needs_sgd: ClassVar[bool] = True

    def init_server(self, w: Tensor) -> Vectors:
        return {"c": torch.zeros_like(w), **self.server_optimizer.init(w)}

    def init_client(self, w: Tensor) -> Vectors:
        return {"c": torch.zeros_like(w)}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": w, "c": server["c"]}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w, c, c_c = sent["w"], sent["c"], own["c"]
        trained = train(w, linear=self._correction(c, c_c))
        c_new = renewed(c_c, c, w, trained)
        return {"w": trained.y, "c": c_new - c_c}, {"c": c_new}

    def _correction(self, c: Tensor, c_c: Tensor) -> Tensor:
        return c - c_c if self.strength == 1 else self.strength * (c - c_c)

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        w, server = self.server_optimizer(w, mean["w"], server)
        return w, {**server, "c": server["c"] + of.share * mean["c"]}
