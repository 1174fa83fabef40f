"""FedBN (Li et al. 2021, ICLR): each client keeps its own norms; all other weights are averaged.

Own are scale and shift of the norms, and BatchNorm's running statistics, which never leave the
client. What is tested is each client's own model, the shared weights with its own norms: on its
own test set, and on the test samples of the domains that it trains on. The paper has BatchNorm and
equal weights (`objective = "uniform"`). There is no model for a client or domain that never trains.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from mpifl.algorithms.own_part import OwnPart, PartlyOwn
from mpifl.net import Coordinates
from mpifl.options import options
from mpifl.training.algorithm import Algorithm


@options
class FedBN(PartlyOwn):
    """FedAvg in which scales, shifts and statistics of norms stay with each client."""

    treats_apart: ClassVar[Literal["norms"]] = "norms"

    def placed(self, coordinates: Coordinates) -> Algorithm:
        return OwnPart(coordinates.norms, self.server_optimizer)
