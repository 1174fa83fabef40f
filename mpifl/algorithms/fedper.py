"""FedPer (Arivazhagan et al. 2019): each client has its own classifier; the body is averaged.

A client trains body and classifier together and keeps the classifier; one that has not trained yet
has the initial one. What is tested is each client's own model, as with FedBN, and BatchNorm's
statistics are its own too, as in PFLlib's code, which averages parameters only. The authors' code
was not found; the rule is that of PFLlib.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from mpifl.algorithms.own_part import OwnPart, PartlyOwn
from mpifl.net import Coordinates
from mpifl.options import options
from mpifl.training.algorithm import Algorithm


@options
class FedPer(PartlyOwn):
    """FedAvg in which the classifier stays with each client."""

    treats_apart: ClassVar[Literal["classifier"]] = "classifier"

    def placed(self, coordinates: Coordinates) -> Algorithm:
        return OwnPart(coordinates.classifier, self.server_optimizer)
