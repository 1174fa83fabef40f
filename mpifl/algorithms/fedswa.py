"""FedSWA (Liu et al. 2025): the learning rate falls within each round, and the server goes further.

Step k of K has the rate lr (1 - (k - 1)(1 - rho)/K);   w <- w + alpha (mean_S y_c - w)

The released code has rho = 0, alpha = 1 and twice `local.lr`. The paper's alpha was not to be had.
"""

from __future__ import annotations

from torch import Tensor

from mpifl.algorithms.fedopt import Sgd
from mpifl.options import Fraction, Positive, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.local import Trained
from mpifl.training.messages import Vectors


def train_falling(train: Train, w: Tensor, rho: float, linear: Tensor | None = None) -> Trained:
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
        return {"w": train_falling(train, sent["w"], self.rho).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return Sgd(lr=self.alpha)(w, mean["w"], server)
