"""FedAvg (McMahan et al. 2017, algorithm 1), and the protocol that every federated rule follows.

A rule is a frozen dataclass: its fields are hyper-parameters, and all that it remembers passes through its arguments
as dicts of flat vectors. Reductions go over the last axis, so the same text serves one client and a stack of them.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mpifl.local import Trained
from mpifl.settings import Positive, options

State = dict[str, Tensor]
Train = Callable[..., Trained]


@options
class FedAvg:
    """w <- w + server_lr * sum_c p_c (y_c - w): the weighted mean of the cohort's models when server_lr is 1."""

    server_lr: Positive = 1.0

    def init_server(self, w: Tensor) -> State:
        """What the server remembers before the first round."""
        return {}

    def init_client(self, w: Tensor) -> State:
        """What a client remembers before its first round."""
        return {}

    def send(self, w: Tensor, server: State) -> State:
        """What every client of the cohort is sent; the weights stand under `w`."""
        return {"w": w}

    def client(self, sent: State, own: State, train: Train) -> tuple[State, State]:
        """One client's round: its reply, and what it remembers. `train(w, linear=, pull=)` is the one local loop."""
        return {"w": train(sent["w"]).y}, own

    def server(self, w: Tensor, server: State, mean: State, share: float) -> tuple[Tensor, State]:
        """The next weights from the weighted mean of the replies; `share` is cohort size over number of clients."""
        if self.server_lr == 1.0:
            return mean["w"], server
        return w + self.server_lr * (mean["w"] - w), server
