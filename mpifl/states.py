"""What clients remember between rounds, kept on the ranks that played them last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mpifl.summation import Message

if TYPE_CHECKING:
    from mpifl.federation import Federation

State = Message


class ClientStates:
    """The states of the clients that this rank played last; a client it has not met has the `unseen` one.

    `stored(client)` gives a client's state from the checkpoint that a run goes on from, or None.
    """

    def __init__(self, federation: Federation, unseen: State, stored: Callable[[int], State | None]) -> None:
        self.unseen = unseen
        self.here: dict[int, State] = {}
        self._federation, self._stored = federation, stored
        self._holder: dict[int, int] = {}

    def fetch(self, plays: list[list[int]]) -> None:
        """Bring the states to the ranks that play the clients now: `plays[i]` are the clients of worker i."""
        if not self.unseen:
            return
        first = self._federation.size - self._federation.workers
        players = {client: first + i for i, play in enumerate(plays) for client in play}
        moves = [(c, self._holder[c], rank) for c, rank in players.items() if self._holder.get(c, rank) != rank]
        self._federation.move(self.here, self.unseen, moves)
        self._holder.update(players)

    def of(self, client: int) -> State:
        """The client's state, on the host."""
        if not self.unseen:
            return {}
        if client not in self.here:
            return self._stored(client) or self.unseen
        return self.here[client]

    def keep(self, client: int, state: State) -> None:
        """Remember `state` until the client plays again."""
        if self.unseen:
            self.here[client] = state
