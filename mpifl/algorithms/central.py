"""Central training, a reference for a table: one client has the training samples of all.

It is no federated algorithm: y <- the local training on the union of the samples of all clients
that may train. Its momentum stays from round to round. A round has the budget of the round that the
same config would have with another algorithm, for the same cohort.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mpifl.options import options
from mpifl.training.algorithm import Algorithm, Budget, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class Central(Algorithm):
    """One client trains on the samples of all clients that may train."""

    budget: Budget = "samples"
    """what it has in a round. samples: as many samples as the clients of the round's cohort take,
    in full minibatches; steps: as many minibatches as they take together; sequence: as many as one
    of them takes on average, which is how many steps follow each other in a federation
    """

    communicates: ClassVar[bool] = False

    @property
    def pool(self) -> Budget | None:
        return self.budget

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"]).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return mean["w"], server
