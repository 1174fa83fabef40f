"""When a run keeps a checkpoint, and how it goes on from one, on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mpifl.federation import Federation
from mpifl.progress import Keeper, Progress, Start
from mpifl.states import ClientStates
from mpifl.store import Checkpoint, Store, checkpoint

_SERVER, _MEANS = "server.", "means."


class Checkpoints(Keeper):
    """Keeps one every so many rounds (0: never) and minutes, and at the end; `store` is None on workers.

    `check` raises when another writer has taken the folder.
    """

    def __init__(self, folder: Path, store: Store | None, check: Callable[[], None], rounds: int, minutes: float):
        self.folder, self.store, self.check = folder, store, check
        self._kept = 0
        self.rounds, self.seconds = rounds, 60 * minutes
        self._last = time.monotonic()

    def due(self, progress: Progress, ending: bool) -> bool:
        if progress.round == self._kept:
            return False
        by_rounds = bool(self.rounds) and progress.round % self.rounds == 0
        return ending or by_rounds or bool(self.seconds) and time.monotonic() - self._last > self.seconds

    def keep(self, progress: Progress, states: ClientStates, federation: Federation) -> None:
        part = None
        if states.unseen:
            here = {c: {name: v.numpy() for name, v in state.items()} for c, state in states.here.items()}
            part = checkpoint.write_part(self.folder, progress.round, federation.rank, here, self.check)
        federation.arrive()
        parts = federation.gather(part)
        self._last, self._kept = time.monotonic(), progress.round
        if self.store:
            server = {_SERVER + name: v.numpy() for name, v in progress.server.items()}
            server |= {_MEANS + name: v.numpy() for name, v in progress.means.items()}
            server |= {"w": progress.w.numpy(), "buffers": progress.buffers.numpy()}
            self.store.checkpoint(progress.round, server, [p for p in parts if p])


def start_from(found: Checkpoint | None, federation: Federation) -> Start:
    """Where to go on: the server's side on every rank, and each client's state on one of the workers."""
    if found is None:
        return Start()
    vectors = {name: _tensor(v) for name, v in found.server.items()}
    server, means = (
        {name.removeprefix(prefix): v for name, v in vectors.items() if name.startswith(prefix)}
        for prefix in (_SERVER, _MEANS)
    )
    progress = Progress(vectors["w"], vectors["buffers"], server, found.round, means=means)
    first = federation.size - federation.workers
    holders = {client: first + i % federation.workers for i, client in enumerate(sorted(found.clients_held()))}
    mine = [client for client, rank in holders.items() if rank == federation.rank]
    states = {client: {name: _tensor(v) for name, v in found.state(client).items()} for client in mine}
    return Start(progress, states, holders)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))
