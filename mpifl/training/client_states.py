"""What clients keep between rounds, on the ranks that played them last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mpifl.training.messages import ClientState, Vectors
from mpifl.training.sampling import RoundPlan
from mpifl.training.state_storage import Slots, StoredStates

if TYPE_CHECKING:  # clients are planned also where there is no MPI library
    from mpifl.parallel.communicator import Communicator


class ClientStates:
    """The states of the clients that this rank played last.

    A client that has not played yet has the `unseen` one. `here` and `holders` (client -> rank)
    are those of the checkpoint that a run resumes from. With a `folder` the states are kept in a
    file there, not in memory.
    """

    def __init__(
        self,
        communicator: Communicator,
        unseen: ClientState,
        here: Iterable[tuple[int, ClientState]] = (),
        holders: Mapping[int, int] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.unseen = unseen
        self._like = unseen.flat()
        slots = Slots(folder, self._like)
        self._kept = StoredStates(slots)
        self._fresh = StoredStates(slots)  # of the round under way, which may not count
        self._round_under_way = 0
        for client, state in here:  # one after the other: together they may be too many
            self._kept[client] = state.flat()
        self._communicator = communicator
        self._holders = dict(holders or {})

    @property
    def are_empty(self) -> bool:
        """Whether clients keep nothing between rounds."""
        return not self._like

    def vectors(self) -> Mapping[int, Vectors]:
        """Client -> its state as named vectors, of the clients that this rank holds."""
        return self._kept

    def fetch(self, plan: RoundPlan) -> None:
        """Bring the states of the round's clients to the ranks that play them."""
        self._round_under_way = plan.round
        if self.are_empty:
            return
        players = plan.players(self._communicator.first_worker)
        moves = []
        for client, rank in players.items():
            holder = self._holders.get(client, rank)
            if holder != rank:
                moves.append((client, holder, rank))
        self._communicator.move(self._kept, self._like, moves)
        self._holders.update(players)

    def held(self, clients: int) -> list[int]:
        """Those of all `clients` whose states this rank has; each is had by one rank."""
        first, workers = self._communicator.first_worker, self._communicator.workers
        own = []
        for client in range(clients):
            holder = self._holders.get(client, first + client % workers)
            if holder == self._communicator.rank:
                own.append(client)
        return own

    def of(self, client: int) -> ClientState:
        """The client's state, on the host."""
        if client not in self._kept:
            return self.unseen
        return ClientState.from_flat(self._kept[client])

    def keep(self, client: int, state: ClientState) -> None:
        """Remember `state` until the client plays again, if the round under way counts."""
        if not self.are_empty:
            self._fresh[client] = state.flat()

    def commit(self, round: int) -> None:
        """Round `round` is the last that counts: keep the states that it produced, and drop those
        of an abandoned round.
        """
        if self._round_under_way == round:
            self._kept.take_all(self._fresh)
        self._fresh.clear()
