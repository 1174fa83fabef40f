"""A federated algorithm. FedAvg whose server goes only part of the way: w <- w + rate (mean y - w).

algorithm = { name = "damped", rate = 0.5 }
"""

from torch import Tensor

from mpifl import Algorithm, register
from mpifl.options import Share, options
from mpifl.training.algorithm import ServerRound, Train
from mpifl.training.messages import Vectors


@register("damped")
@options
class Damped(Algorithm):
    """rate = 1 is FedAvg."""

    rate: Share = 0.5
    """share of the way to the mean of the clients' models"""

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"]).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return w + self.rate * (mean["w"] - w), server
