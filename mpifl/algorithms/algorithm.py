"""What a federated rule is.

A rule is a frozen dataclass: its fields are hyper-parameters, and all that it remembers passes
through its arguments as dicts of flat vectors. Reductions go over the last axis, so the same text
serves one client and a stack of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from mpifl.options import options
from mpifl.training.gradients import Oracle
from mpifl.training.local import Trained

State = dict[str, Tensor]
Train = Callable[..., Trained]


@options
class Algorithm(ABC):
    """The five functions of a rule; those that most rules share are here."""

    gradient: ClassVar[Oracle | None] = None
    """the gradient of its local steps, for a rule that brings its own; `local.gradient` must then
    stay plain
    """
    fresh_momentum: ClassVar[bool] = False
    """whether it holds only where local momentum begins at zero in each round"""

    def init_server(self, w: Tensor) -> State:
        """What the server remembers before the first round."""
        return {}

    def init_client(self, w: Tensor) -> State:
        """What a client remembers before its first round."""
        return {}

    def send(self, w: Tensor, server: State) -> State:
        """What every client of the cohort is sent; the weights stand under `w`."""
        return {"w": w}

    @abstractmethod
    def client(self, sent: State, own: State, train: Train) -> tuple[State, State]:
        """One client's round: its reply, of new tensors, and what it remembers.

        `train(w, linear=, pull=)` is the one local loop, on loss(y) + <linear, y> + (pull/2)||y -
        w||^2.
        """

    @abstractmethod
    def server(self, w: Tensor, server: State, mean: State, share: float) -> tuple[Tensor, State]:
        """The next weights from the weighted mean of the replies.

        `share` is the cohort's part of all clients' weight: S/N where all weigh alike, n_S/n where
        samples weigh. So share * mean is the cohort's part of a weighted mean over all clients.
        """
