"""FedAvg (McMahan et al. 2017, algorithm 1): w <- sum_c p_c y_c, or a server optimiser's step
towards it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mpifl.algorithms.algorithm import Algorithm, State, Train
from mpifl.algorithms.fedopt import Sgd
from mpifl.options import options


@options
class FedAvg(Algorithm):
    """The weighted mean of the cohort's models."""

    server_step: Any = Sgd()
    """how the server moves towards the mean"""

    def init_server(self, w: Tensor) -> State:
        return self.server_step.init(w)

    def client(self, sent: State, own: State, train: Train) -> tuple[State, State]:
        return {"w": train(sent["w"]).y}, own

    def server(self, w: Tensor, server: State, mean: State, share: float) -> tuple[Tensor, State]:
        return self.server_step(w, mean["w"], server)
