"""What clients remember between rounds, kept on the ranks that played them last."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mpifl.training.state_storage import Shelf, Shelved, State

if TYPE_CHECKING:  # clients are planned also where there is no MPI library
    from mpifl.parallel.communicator import Communicator


class ClientStates:
    """The states of the clients that this rank played last; a client that nobody has met has the
    `unseen` one.

    `here` and `holders` (client -> rank) say where a run begins that goes on from a checkpoint.
    With a `folder` the states are kept in a file there, not in memory.
    """

    def __init__(
        self,
        communicator: Communicator,
        unseen: State,
        here: Iterable[tuple[int, State]],
        holders: dict[int, int],
        folder: Path | None = None,
    ) -> None:
        self.unseen = unseen
        shelf = Shelf(folder, unseen)
        self.here, self._fresh = Shelved(shelf), Shelved(shelf)
        for client, state in here:  # one after the other: together they may be too many
            self.here[client] = state
        self._federation, self._holders = communicator, dict(holders)

    def fetch(self, plays: list[list[int]]) -> None:
        """Bring the states to the ranks that play the clients now: `plays[i]` are the clients of
        worker i.
        """
        if not self.unseen:
            return
        first = self._federation.size - self._federation.workers
        players = {client: first + i for i, play in enumerate(plays) for client in play}
        moves = [
            (c, self._holders[c], rank)
            for c, rank in players.items()
            if self._holders.get(c, rank) != rank
        ]
        self._federation.move(self.here, self.unseen, moves)
        self._holders.update(players)

    def of(self, client: int) -> State:
        """The client's state, on the host."""
        return self.here.get(client, self.unseen)

    def keep(self, client: int, state: State) -> None:
        """Remember `state` until the client plays again, if the round counts."""
        if self.unseen:
            self._fresh[client] = state

    def settle(self, counts: bool) -> None:
        """Whether the round under way counts: what was kept in it holds from now on, or is
        forgotten.
        """
        if counts:
            self.here.take(self._fresh)
        self._fresh.clear()
