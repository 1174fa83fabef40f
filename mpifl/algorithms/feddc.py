"""FedDC (Gao et al. 2022, algorithm 1): FedDyn's drift variable and SCAFFOLD's control variate.

    f_c(y) + (alpha/2)||y + h_c - w||^2 + <y, c - c_c>;   h_c <- h_c + y_c - w;   c_c as in SCAFFOLD
    w <- mean_S y_c + mean_all h_c;   c <- c + sum_S p_c (c_c+ - c_c)

Completing the square shows that h_c is FedDyn's dual: without the controls this is FedDyn. In c_c
the steps have weights as in SCAFFOLD, with momentum and the quadratic term in a_c; the authors'
code has the number of steps there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpifl.algorithms.scaffold import renewed
from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedDC(Algorithm):
    """alpha = 0 is SCAFFOLD, control = false is FedDyn, both together is FedAvg."""

    alpha: NonNegative = 0.01
    """strength of the penalty on drift"""
    control: bool = True
    """whether the objective has the term <y, c - c_c>"""

    def init_server(self, w: Tensor) -> Vectors:
        return {"drift": torch.zeros_like(w), "c": torch.zeros_like(w)}

    def init_client(self, w: Tensor) -> Vectors:
        return {"drift": torch.zeros_like(w), "c": torch.zeros_like(w)}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": w, "c": server["c"]}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w, c, h, c_c = sent["w"], sent["c"], own["drift"], own["c"]
        linear = self.alpha * h + (c - c_c) if self.control else self.alpha * h
        trained = train(w, linear=linear, pull=self.alpha)
        c_new = renewed(c_c, c, w, trained) if self.control else c_c
        return {"w": trained.y, "c": c_new - c_c}, {"drift": h + (trained.y - w), "c": c_new}

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        c = server["c"] + of.share * mean["c"]
        if self.alpha == 0:
            return mean["w"], {**server, "c": c}
        drift = server["drift"] + of.share * (mean["w"] - w)
        return mean["w"] + drift, {"drift": drift, "c": c}
