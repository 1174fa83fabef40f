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

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.own_part import SharedPart
from mpifl.net import Coordinates
from mpifl.options import options
from mpifl.training.algorithm import Algorithm, Train
from mpifl.training.messages import Vectors


@options
class FedBabu(FedAvg):
    """FedAvg of all but the classifier, which stays the initial one."""

    treats_apart: ClassVar[Literal["classifier"]] = "classifier"

    def placed(self, coordinates: Coordinates) -> Algorithm:
        return FrozenPart(coordinates.classifier, self.server_optimizer)


@dataclass(frozen=True, eq=False)
class FrozenPart(SharedPart):
    """FedAvg in which the coordinates `apart` of the weights stay the initial ones everywhere."""

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w = sent["w"]
        return {"w": train(w, moving=~self.apart_beside(w)).y}, own
