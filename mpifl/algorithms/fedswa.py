"""FedSWA and FedMoSWA (Liu et al. 2025): the learning rate falls within each round.

Step k of K has the rate lr (1 - (k - 1)(1 - rho)/K).

    FedSWA:    w <- w + alpha (mean_S y_c - w)
    FedMoSWA:  SCAFFOLD's steps and controls, a_c with these rates; c <- c + gamma (mean_S c_c - c)

The released code of FedSWA has rho = 0, alpha = 1 and twice `local.lr`. That of FedMoSWA has
constant rates, and `first = true`: after round 1 the server's control is the mean of the clients'.
The paper's alpha was not to be had.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mpifl.algorithms.fedopt import Sgd
from mpifl.algorithms.scaffold import renewed
from mpifl.options import Fraction, Positive, Share, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.local import Trained
from mpifl.training.messages import Vectors


def _falling(train: Train, w: Tensor, rho: float, linear: Tensor | None = None) -> Trained:
    """Train with a rate that falls linearly from 1 towards `rho` times the round's."""
    if rho == 1:
        return train(w, linear=linear)
    steps = train.of.steps
    return train(w, linear=linear, factor=lambda step: 1 - step * (1 - rho) / steps)


@options
class FedSwa(Algorithm):
    """rho = alpha = 1 is FedAvg."""

    rho: Fraction = 0.0
    """where the factor on the rate would be after the last step"""
    alpha: Positive = 1.0
    """the server's step towards the mean"""

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": _falling(train, sent["w"], self.rho).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return Sgd(lr=self.alpha)(w, mean["w"], server)


@options
class FedMoSwa(Algorithm):
    """With rho = gamma = 1 and all clients in each round it is SCAFFOLD, up to rounding."""

    rho: Fraction = 1.0
    """where the factor on the rate would be after the last step"""
    gamma: Share = 0.4
    """how far the server's control goes towards the cohort's mean"""
    first: bool = False
    """whether it goes all the way after round 1, as in the code"""

    needs_sgd: ClassVar[bool] = True

    def init_server(self, w: Tensor) -> Vectors:
        return {"c": torch.zeros_like(w)}

    def init_client(self, w: Tensor) -> Vectors:
        return {"c": torch.zeros_like(w)}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": w, "c": server["c"]}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w, c, c_c = sent["w"], sent["c"], own["c"]
        trained = _falling(train, w, self.rho, linear=c - c_c)
        control = renewed(c_c, c, w, trained)
        return {"w": trained.y, "c": control.clone()}, {"c": control}

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        gamma = 1.0 if self.first and of.round == 1 else self.gamma
        return mean["w"], {"c": server["c"] + gamma * (mean["c"] - server["c"])}
