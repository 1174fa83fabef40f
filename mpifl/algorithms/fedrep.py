"""FedRep (Collins et al. 2021): own classifiers, which a client trains before the shared body.

A round of a client: first its classifier alone, for `head_epochs`, with the body as it was sent;
then the body alone, for `local.epochs` or `local.steps`, with the classifier as it is now. The body
is averaged, the classifier stays. What is tested is each client's own model, as with FedPer, and
BatchNorm's statistics are its own. The authors' code was not found; the rule is that of PFLlib,
which has one epoch of the classifier by default.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from mpifl.algorithms.own_part import OwnPart, PartlyOwn
from mpifl.net import Coordinates
from mpifl.options import NonNegativeInt, options
from mpifl.training.algorithm import Algorithm


@options
class FedRep(PartlyOwn):
    """FedPer in which classifier and body take turns. Local momentum begins at zero in each."""

    head_epochs: NonNegativeInt = 0
    """passes over the samples (steps, with `local.steps`) that train the classifier; 0: as many as
    train the body
    """

    fresh_momentum: ClassVar[bool] = True
    treats_apart: ClassVar[Literal["classifier"]] = "classifier"

    def placed(self, coordinates: Coordinates) -> Algorithm:
        return OwnPart(
            coordinates.classifier, self.server_optimizer, in_turn=True, own_epochs=self.head_epochs
        )
