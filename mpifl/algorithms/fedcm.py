"""FedCM (Xu et al. 2021, algorithm 1): every local step goes along the last round's mean gradient.

    y <- y - lr (alpha g(y) + (1 - alpha) v)
    v <- mean_S (w - y_c) / (lr a_c);   w <- mean_S y_c, or a server optimizer's step

v is 0 in round 1, so its steps are 1/alpha times shorter. a_c is the sum of the weights of a
client's steps in (w - y_c) / lr; the authors' code has a number of steps that is the same for all.
With `local.gradient = "sam"` this is MoFedSAM (Qu et al. 2022), with rho 0.1 and alpha 0.05 to 0.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpifl.algorithms.controls import mean_gradient
from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.algorithms.oracles import Scaled
from mpifl.options import Share, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedCM(Algorithm):
    """alpha = 1 is FedAvg."""

    alpha: Share = 0.1
    """weight of the client's own gradient in a step; the rest is the last round's mean gradient"""
    server_optimizer: Optimizer = Sgd()
    """how the server moves towards the mean"""

    @property
    def needs_sgd(self) -> bool:
        return self.alpha < 1

    def init_server(self, w: Tensor) -> Vectors:
        return {"gradient": torch.zeros_like(w), **self.server_optimizer.init(w)}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": w, "v": server["gradient"]}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w, v = sent["w"], sent["v"]
        if self.alpha == 1:
            trained = train(w)
        else:
            scaled = Scaled(train.of.gradient, self.alpha)
            trained = train(w, gradient=scaled, linear=(1 - self.alpha) * v)
        gradient = mean_gradient(w, trained)
        return {"w": trained.y, "v": v.clone() if gradient is None else gradient}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        w, server = self.server_optimizer(w, mean["w"], server)
        return w, {**server, "gradient": mean["v"]}
