"""FedNova (Wang et al. 2020, eq. 8): local changes are divided by their number of steps.

Clients with more steps then do not pull the optimum towards theirs.

    d_c = (w - y_c) / a_c;   w <- w - tau sum_S p_c d_c;   tau = sum_S p_c a_c

a_c is the sum of the weights of the steps' gradients in (w - y_c) / lr, for any mix of momentum and
proximal term. Momentum begins at zero in each round: momentum of earlier rounds would have the most
weight for clients with few steps.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedNova(Algorithm):
    """If all clients take the same number of steps it is FedAvg, up to rounding."""

    mu: NonNegative = 0.0
    """strength of a proximal term (mu/2)||y - w||^2"""
    server_optimizer: Optimizer = Sgd()
    """how the server moves towards the new weights"""

    fresh_momentum: ClassVar[bool] = True
    needs_sgd: ClassVar[bool] = True

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w = sent["w"]
        trained = train(w, pull=self.mu)
        a = trained.accumulated
        return {"d": (w - trained.y) / a, "a": w.new_tensor([a])}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return self.server_optimizer(w, w - mean["a"] * mean["d"], server)
