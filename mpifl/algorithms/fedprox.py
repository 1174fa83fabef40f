"""FedProx (Li et al. 2020, algorithm 2): FedAvg with the term (mu/2)||y - w||^2.

The term keeps clients near the sent weights.
"""

from __future__ import annotations

from torch import Tensor

from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedProx(Algorithm):
    """f_c(y) + (mu/2)||y - w||^2; mu = 0 is FedAvg."""

    mu: NonNegative = 1e-4
    """strength of the proximal term"""
    server_optimizer: Optimizer = Sgd()
    """how the server moves towards the mean"""

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"], pull=self.mu).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return self.server_optimizer(w, mean["w"], server)
