"""FedBABU (Oh et al. 2022): the classifier stays at its random start; only the body trains.

No client moves the classifier, neither by gradient nor by decay, and none has a state of its own.
For the paper's personalised accuracy, `mpifl finetune` trains the stored model on at each client.
Their runs, from a fork of the authors' code: 100 clients, 10 a round, two shards each, five epochs,
batches of 10, momentum 0.5, the rate times 0.1 at a half and three quarters of the rounds; five
epochs of fine-tuning before tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.net import Coordinates
from mpifl.options import options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedBabu(Algorithm):
    """FedAvg of all but the classifier, which stays the initial one."""

    server_optimizer: Optimizer = Sgd()
    """how the server moves the body towards its mean"""

    treats_apart: ClassVar[Literal["classifier"]] = "classifier"

    def placed(self, coordinates: Coordinates) -> Algorithm:
        return FrozenPart(coordinates.classifier, self.server_optimizer)

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"]).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return self.server_optimizer(w, mean["w"], server)


@dataclass(frozen=True, eq=False)
class FrozenPart(Algorithm):
    """FedAvg in which the coordinates `frozen` (bool [d]) of the weights stay the initial ones."""

    frozen: Tensor
    server_optimizer: Optimizer = Sgd()

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"], moving=~self._beside(sent["w"])).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        moved, server = self.server_optimizer(w, mean["w"], server)
        # a mean of equal numbers may differ from them in the last bit
        return moved.where(~self._beside(w), w), server

    def _beside(self, w: Tensor) -> Tensor:
        return self.frozen.to(w.device)
