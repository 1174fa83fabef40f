"""FedNova (Wang et al. 2020, eq. 8): steps normalised, so that clients that take more do not pull
the optimum theirs.

    d_c = (w - y_c) / a_c;   w <- w - tau sum_S p_c d_c;   tau = sum_S p_c a_c

a_c is the sum of the weights of the steps' gradients in (w - y_c) / lr, for any mix of momentum and
proximal term. Momentum begins at zero in each round: what it brought from earlier ones would weigh
most where steps are few.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, Train
from mpifl.training.messages import Vectors


@options
class FedNova(Algorithm):
    """With equal steps everywhere it is FedAvg, to rounding."""

    mu: NonNegative = 0.0
    """strength of a proximal term (mu/2)||y - w||^2"""
    server_optimizer: Optimizer = Sgd()

    fresh_momentum: ClassVar[bool] = True

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w = sent["w"]
        trained = train(w, pull=self.mu)
        return {
            "d": (w - trained.y) / trained.accumulated,
            "a": w.new_tensor([trained.accumulated]),
        }, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, share: float
    ) -> tuple[Tensor, Vectors]:
        return self.server_optimizer(w, w - mean["a"] * mean["d"], server)
