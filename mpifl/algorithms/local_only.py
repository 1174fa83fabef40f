"""Training without a federation, a reference for a table: each client has its own samples only.

A client begins at the initial weights and trains on from its own model whenever it is in a cohort;
nothing is sent. What is tested is each client's own model: on the whole test set, on its own test
set, on its training samples. The stored global model is the mean of the last cohort's models, which
nobody is sent.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mpifl.options import options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class LocalOnly(Algorithm):
    """Every client keeps its own model, and its own BatchNorm statistics."""

    personal: ClassVar[bool] = True
    communicates: ClassVar[bool] = False

    def init_client(self, w: Tensor) -> Vectors:
        return {"w": w.clone()}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        y = train(own["w"]).y
        return {"w": y}, {"w": y}

    def model(self, w: Tensor, own: Vectors) -> Tensor:
        return own["w"]

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return mean["w"], server
