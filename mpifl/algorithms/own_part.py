"""A part of the weights stays with each client; the server averages the others.

It is what FedBN, FedPer and FedRep have in common, which differ in the part.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedopt import ServerOptimizer, Sgd
from mpifl.net import Coordinates
from mpifl.options import options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class PartlyOwn(FedAvg):
    """An algorithm whose part is known once it is `placed`; until then it is FedAvg."""

    personal: ClassVar[bool] = True
    tests_own_domains: ClassVar[bool] = True

    @abstractmethod
    def placed(self, coordinates: Coordinates) -> Algorithm:
        """The algorithm for a network with these coordinates."""


@dataclass(frozen=True, eq=False)
class SharedPart(Algorithm):
    """A server that averages all weights but the coordinates `apart` (bool [d]).

    Its own coordinates there stay the initial ones.
    """

    apart: Tensor
    server_optimizer: ServerOptimizer = Sgd()

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        moved, server = self.server_optimizer(w, mean["w"], server)
        # a mean of equal numbers may differ from them in the last bit
        return moved.where(~self.apart_beside(w), w), server

    def apart_beside(self, w: Tensor) -> Tensor:
        """`apart`, where `w` is."""
        return self.apart.to(w.device)


@dataclass(frozen=True, eq=False)
class OwnPart(SharedPart):
    """FedAvg in which the coordinates `apart` of the weights stay with each client.

    A client that has not trained has the initial ones.
    """

    in_turn: bool = False
    """whether a client trains its own part first, and then the shared one, not both together"""
    own_epochs: int = 0
    """passes or steps of its own part, if that is trained first; 0: as many as of the other"""

    personal: ClassVar[bool] = True
    tests_own_domains: ClassVar[bool] = True

    @property
    def kept(self) -> int:
        return int(self.apart.sum())

    def init_client(self, w: Tensor) -> Vectors:
        if not self.apart.any():
            return {}
        return {"own": self._part(w)}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w = sent["w"]
        y = self._trained(self.model(w, own), train)
        if not own:
            return {"w": y}, own
        shared = y.where(~self.apart_beside(w), w)
        return {"w": shared}, {"own": self._part(y)}

    def model(self, w: Tensor, own: Vectors) -> Tensor:
        if not own:
            return w
        model = w.clone()
        model[..., self.apart_beside(w)] = own["own"]
        return model

    def _trained(self, y: Tensor, train: Train) -> Tensor:
        """Where the client's training from `y` ends."""
        mine = self.apart_beside(y)
        if not self.in_turn or not mine.any():
            return train(y).y
        y = train(y, moving=mine, epochs=self.own_epochs).y
        if mine.all():
            return y
        return train(y, moving=~mine).y

    def _part(self, w: Tensor) -> Tensor:
        return w[..., self.apart_beside(w)].clone()
