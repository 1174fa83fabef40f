"""SCAFFOLD (Karimireddy et al. 2020, algorithm 1, option II): steps with control variates.

    y <- y - lr (g - c_c + c)
    c_c+ = c_c - c + (w - y) / (lr a_c);   c <- c + sum_S p_c (c_c+ - c_c)

`controls.py` says what a_c is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpifl.algorithms.controls import Controlled, renewed
from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.options import Fraction, options
from mpifl.training.algorithm import ServerRound, Train
from mpifl.training.messages import Vectors


@options
class Scaffold(Controlled):
    """After every round, the server's control is the weighted mean of all clients' controls."""

    strength: Fraction = 1.0
    """factor on c - c_c in a step; 0.1 in the authors' code of FedLESAM-S"""
    server_optimizer: Optimizer = Sgd()
    """how the server moves towards the mean"""

    def init_server(self, w: Tensor) -> Vectors:
        return {"c": torch.zeros_like(w), **self.server_optimizer.init(w)}

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
