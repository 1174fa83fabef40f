"""FedMoSWA (Liu et al. 2025): SCAFFOLD at falling rates, whose control moves by momentum.

    y <- y - lr_k (g - c_c + c),   lr_k = lr (1 - (k - 1)(1 - rho)/K) in step k of K
    c_c as in SCAFFOLD, a_c with these rates;   c <- c + gamma (mean_S c_c - c)

The released code has constant rates (rho = 1), and `first = true`: after the first round the
server's control is the mean of the clients'.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpifl.algorithms.controls import Controlled, renewed
from mpifl.algorithms.fedswa import train_falling
from mpifl.options import Fraction, Share, options
from mpifl.training.algorithm import ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedMoSwa(Controlled):
    """With rho = gamma = 1 and all clients in each round it is SCAFFOLD, up to rounding."""

    rho: Fraction = 1.0
    """where the factor on the rate would be after the last step"""
    gamma: Share = 0.4
    """how far the server's control goes towards the cohort's mean"""
    first: bool = False
    """whether it goes all the way after the first round, as in the code"""

    def init_server(self, w: Tensor) -> Vectors:
        return {"c": torch.zeros_like(w), "has_control": torch.zeros_like(w[:1])}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w, c, c_c = sent["w"], sent["c"], own["c"]
        trained = train_falling(train, w, self.rho, linear=c - c_c)
        control = renewed(c_c, c, w, trained)
        return {"w": trained.y, "c": control.clone()}, {"c": control}

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        is_first = not server["has_control"]
        gamma = 1.0 if self.first and is_first else self.gamma
        control = server["c"] + gamma * (mean["c"] - server["c"])
        return mean["w"], {"c": control, "has_control": torch.ones_like(server["has_control"])}
