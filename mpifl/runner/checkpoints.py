"""When a run keeps a checkpoint, and how it goes on from one, on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpifl.parallel.communicator import Communicator
from mpifl.store import Checkpoint, Store, checkpoint
from mpifl.training.client_states import ClientStates, State
from mpifl.training.experiment import Keeper, Progress, Start

_SERVER, _MEANS = "server.", "means."


class Checkpoints(Keeper):
    """Keeps one every so many rounds (0: never) and minutes, and at the end; `store` is None on
    workers.

    `check` raises when another writer has taken the folder. The checkpoint of the round `kept` is
    there already, and may be the only one: it is not written again.
    """

    def __init__(
        self,
        folder: Path,
        store: Store | None,
        check: Callable[[], None],
        rounds: int,
        minutes: float,
        kept: int,
    ) -> None:
        self.folder, self.store, self.check = folder, store, check
        self._kept = kept
        self.rounds, self.seconds = rounds, 60 * minutes
        self._last = time.monotonic()

    def due(self, progress: Progress, ending: bool) -> bool:
        if progress.round == self._kept:
            return False
        by_rounds = bool(self.rounds) and progress.round % self.rounds == 0
        return (
            ending
            or by_rounds
            or bool(self.seconds)
            and time.monotonic() - self._last > self.seconds
        )

    def keep(self, progress: Progress, states: ClientStates, communicator: Communicator) -> None:
        part = None
        if states.unseen:
            here = _As(_arrays, states.here)
            part = checkpoint.write_part(
                self.folder, progress.round, communicator.rank, here, self.check
            )
        communicator.arrive()
        parts = communicator.gather(part)
        self._last, self._kept = time.monotonic(), progress.round
        if self.store:
            server = {_SERVER + name: v for name, v in progress.server.items()}
            server |= {_MEANS + name: v for name, v in progress.means.items()}
            server |= {"w": progress.w, "buffers": progress.buffers}
            self.store.checkpoint(progress.round, _arrays(server), [p for p in parts if p])


def start_from(found: Checkpoint | None, communicator: Communicator) -> Start:
    """Where to go on: the server's side on every rank, and each client's state on one of the
    workers.
    """
    if found is None:
        return Start()
    vectors = _tensors(found.server)
    server, means = (
        {name.removeprefix(prefix): v for name, v in vectors.items() if name.startswith(prefix)}
        for prefix in (_SERVER, _MEANS)
    )
    progress = Progress(vectors["w"], vectors["buffers"], server, found.round, means=means)
    first = communicator.size - communicator.workers
    holders = {
        client: first + i % communicator.workers
        for i, client in enumerate(sorted(found.clients_held()))
    }
    mine = [client for client, rank in holders.items() if rank == communicator.rank]
    return Start(
        progress, ((client, _tensors(state)) for client, state in found.states(mine)), holders
    )


def everywhere(found: Checkpoint | None, communicator: Communicator) -> Checkpoint | None:
    """The checkpoint that the server `found`, on every rank."""
    known = communicator.bcast(found and replace(found, server={}))
    return known and replace(known, server=communicator.replicate(found and found.server))


class _As(Mapping):
    """Another mapping's values as `form` makes them, one at a time: all together may not fit into
    memory.
    """

    def __init__(self, form: Callable[[Any], Any], of: Mapping) -> None:
        self._form, self._of = form, of

    def __getitem__(self, key: int) -> Any:
        return self._form(self._of[key])

    def __iter__(self) -> Iterator[int]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)


def _arrays(state: State) -> dict[str, np.ndarray]:
    return {name: vector.numpy() for name, vector in state.items()}


def _tensors(vectors: Mapping[str, np.ndarray]) -> State:
    return {name: torch.from_numpy(np.array(vector)) for name, vector in vectors.items()}
