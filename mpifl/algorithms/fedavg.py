"""FedAvg (McMahan et al. 2017, algorithm 1): w <- sum_c p_c y_c, or a server optimizer's step."""

from __future__ import annotations

from torch import Tensor

from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.options import options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedAvg(Algorithm):
    """The weighted mean of the cohort's models."""

    server_optimizer: Optimizer = Sgd()
    """how the server moves towards the mean"""

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"]).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return self.server_optimizer(w, mean["w"], server)
