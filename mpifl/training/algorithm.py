"""What a federated algorithm is.

An algorithm is a frozen dataclass: its fields are hyper-parameters, and all that it remembers
passes through its arguments, as dicts of flat vectors under names of its own choice. Reductions go
over the last axis, so that the same text serves one client and a stack of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor

from mpifl.options import options
from mpifl.training.gradients import Gradient
from mpifl.training.local import Trained
from mpifl.training.messages import Vectors


class Train(Protocol):
    """The local training that an algorithm is given: the one local loop, for one client's round."""

    def __call__(self, w: Tensor, *, linear: Tensor | None = None, pull: float = 0.0) -> Trained:
        """Train from `w [d]` on loss(y) + <linear, y> + (pull/2)||y - w||^2; `linear [d]`."""


@options
class Algorithm(ABC):
    """The five functions of an algorithm; those that most share are written here."""

    fresh_momentum: ClassVar[bool] = False
    """whether local momentum must begin at zero in each round"""

    @property
    def gradient(self) -> Gradient | None:
        """The gradient of its local steps, if the algorithm has its own; `local.gradient` must then
        stay plain.
        """
        return None

    def init_server(self, w: Tensor) -> Vectors:
        """What the server remembers before the first round."""
        return {}

    def init_client(self, w: Tensor) -> Vectors:
        """What a client remembers before its first round."""
        return {}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        """What every client of the cohort is sent; the weights stand under `w`."""
        return {"w": w}

    @abstractmethod
    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        """One client's round: its reply, of new tensors, and all that it remembers from now on."""

    @abstractmethod
    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, share: float
    ) -> tuple[Tensor, Vectors]:
        """The next weights, and what the server remembers, from the weighted mean of the replies.

        `share` is the cohort's part of all clients' weight: S/N where all weigh alike, n_S/n where
        samples weigh. So share * mean is the cohort's part of a weighted mean over all clients.
        """
