"""FedBN (Li et al. 2021, ICLR): each client keeps its own norms; all other weights are averaged.

Own are scale and shift of the norms, and BatchNorm's running statistics, which never leave the
client. What is tested is each client's own model, the shared weights with its own norms: on its
own test set, and on the test samples of the domains that it trains on. The paper has BatchNorm and
equal weights (`objective = "uniform"`). There is no model for a client or domain that never trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mpifl.algorithms.fedopt import Optimizer, Sgd
from mpifl.net import Coordinates
from mpifl.options import options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedBN(Algorithm):
    """FedAvg in which scales, shifts and statistics of norms stay with each client."""

    server_optimizer: Optimizer = Sgd()
    """how the server moves the shared weights towards their mean"""

    personal: ClassVar[bool] = True
    needs_norms: ClassVar[bool] = True
    tests_own_domains: ClassVar[bool] = True

    def placed(self, coordinates: Coordinates) -> Algorithm:
        return OwnPart(coordinates.norms, self.server_optimizer)

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"]).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return self.server_optimizer(w, mean["w"], server)


@dataclass(frozen=True, eq=False)
class OwnPart(Algorithm):
    """FedAvg in which the coordinates `mine` (bool [d]) of the weights stay with each client.

    A client that has not trained has the initial ones; the server's stay these for ever.
    """

    mine: Tensor
    server_optimizer: Optimizer = Sgd()

    personal: ClassVar[bool] = True
    tests_own_domains: ClassVar[bool] = True

    @property
    def kept(self) -> int:
        return int(self.mine.sum())

    def init_server(self, w: Tensor) -> Vectors:
        return self.server_optimizer.init(w)

    def init_client(self, w: Tensor) -> Vectors:
        if not self.mine.any():
            return {}
        return {"own": self._part(w)}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w = sent["w"]
        y = train(self.model(w, own)).y
        if not own:
            return {"w": y}, own
        shared = y.where(~self._mine_beside(w), w)
        return {"w": shared}, {"own": self._part(y)}

    def model(self, w: Tensor, own: Vectors) -> Tensor:
        if not own:
            return w
        model = w.clone()
        model[..., self._mine_beside(w)] = own["own"]
        return model

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        moved, server = self.server_optimizer(w, mean["w"], server)
        # a mean of equal numbers may differ from them in the last bit
        return moved.where(~self._mine_beside(w), w), server

    def _part(self, w: Tensor) -> Tensor:
        return w[..., self._mine_beside(w)].clone()

    def _mine_beside(self, w: Tensor) -> Tensor:
        return self.mine.to(w.device)
