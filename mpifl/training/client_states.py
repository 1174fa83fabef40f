"""What clients keep between rounds, on the ranks that played them last.

The algorithm's vectors stand apart from what the loop keeps, as in messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mpifl.training.messages import ALGORITHM, Model, Vectors, owned, prefixed
from mpifl.training.sampling import RoundPlan
from mpifl.training.state_storage import Slots, StoredStates

if TYPE_CHECKING:  # clients are planned also where there is no MPI library
    from mpifl.parallel.communicator import Communicator

_MOMENTS = "moments."


@dataclass(frozen=True)
class ClientState:
    """What a client keeps between its rounds; None where nothing asks for it."""

    algorithm: Vectors
    """what the algorithm remembers of this client"""
    momentum: Tensor | None = None
    """[d], with `local.momentum_state = "persist"`"""
    previous: Model | None = None
    """its model after its last round, for losses that need it"""
    latest: Tensor | None = None
    """[d]: its weights after its last round, for the mean of all clients' latest models"""
    buffers: Tensor | None = None
    """[b]: its own BatchNorm statistics, with `buffers = "local"`"""
    moments: Vectors = field(default_factory=dict)
    """adamw's, with `local.momentum_state = "persist"`"""
    has_played: bool = False
    """whether `previous` and `buffers` are the client's own, not the initial ones"""

    @cached_property
    def keeps_anything(self) -> bool:
        """Whether anything is kept."""
        return bool(self.flat())

    def flat(self) -> Vectors:
        """One level of names, empty for a client that keeps nothing."""
        vectors = prefixed(ALGORITHM, self.algorithm)
        if self.momentum is not None:
            vectors["momentum"] = self.momentum
        if self.previous is not None:
            vectors["previous"] = self.previous.weights
            vectors["previous_buffers"] = self.previous.buffers
        if self.latest is not None:
            vectors["latest"] = self.latest
        if self.buffers is not None:
            vectors["buffers"] = self.buffers
        vectors |= prefixed(_MOMENTS, self.moments)
        own = self.buffers if self.previous is None else self.previous.weights
        if own is not None:
            vectors["met"] = torch.full((1,), float(self.has_played), dtype=own.dtype)
        return vectors

    @classmethod
    def from_flat(cls, vectors: Mapping[str, Tensor]) -> ClientState:
        """The inverse of `flat`; also of checkpoints up to 0.1, where nothing was prefixed."""
        algorithm = owned(ALGORITHM, vectors)
        if not algorithm:
            algorithm = {
                name: vector for name, vector in vectors.items() if not _is_of_the_loop(name)
            }
        previous = None
        if "previous" in vectors:
            previous = Model(vectors["previous"], vectors["previous_buffers"])
        return cls(
            algorithm,
            momentum=vectors.get("momentum"),
            previous=previous,
            latest=vectors.get("latest"),
            buffers=vectors.get("buffers"),
            moments=owned(_MOMENTS, vectors),
            has_played="met" in vectors and bool(vectors["met"]),
        )

    def to(self, device: torch.device) -> ClientState:
        """The same on a device."""
        if not self.keeps_anything:
            return self
        vectors = self.flat()
        if all(vector.device == device for vector in vectors.values()):
            return self
        moved = {name: vector.to(device) for name, vector in vectors.items()}
        return ClientState.from_flat(moved)


_OF_THE_LOOP = ("momentum", "previous", "previous_buffers", "latest", "buffers", "met")


def _is_of_the_loop(name: str) -> bool:
    return name in _OF_THE_LOOP or name.startswith(_MOMENTS)


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
        """Those of all `clients` whose states this rank has; each is on one rank."""
        first = self._communicator.first_worker
        workers = self._communicator.workers
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
