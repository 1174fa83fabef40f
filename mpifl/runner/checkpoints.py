"""When a run writes a checkpoint, and how it resumes from one, on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mpifl.parallel.communicator import Communicator
from mpifl.store import Checkpoint, Store, checkpoint
from mpifl.training.callback import Checkpointer
from mpifl.training.client_states import ClientState, ClientStates
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Vectors, owned
from mpifl.training.progress import Progress, Start, first_progress

_SERVER, _MEANS = "server.", "means."
"""before the names of the algorithm's vectors, and of the means of local models, in the file"""


class Checkpoints(Checkpointer):
    """Writes one every so many rounds (0: never) and minutes (0: never), and at the end.

    `store` is None on workers. `check` raises when another writer has taken the folder. The
    checkpoint of the round `last_round` is there already, and may be the only one: it is not
    written again.
    """

    def __init__(
        self,
        folder: Path,
        store: Store | None,
        check: Callable[[], None],
        rounds: int,
        minutes: float,
        last_round: int = 0,
    ) -> None:
        self._folder = folder
        self._store = store
        self._check = check
        self._rounds = rounds
        self._seconds = 60 * minutes
        self._last_round = last_round
        self._last_time = time.monotonic()

    def is_due(self, progress: Progress, ending: bool) -> bool:
        if progress.round == self._last_round:
            return False
        if ending:
            return True
        if self._rounds and progress.round % self._rounds == 0:
            return True
        return self._seconds > 0 and time.monotonic() - self._last_time > self._seconds

    def save(self, progress: Progress, states: ClientStates, communicator: Communicator) -> None:
        part = None
        if not states.are_empty:
            arrays = _Arrays(states.vectors())
            rank = communicator.rank
            part = checkpoint.write_part(self._folder, progress.round, rank, arrays, self._check)
        communicator.arrive()
        parts = communicator.gather(part)
        self._last_time = time.monotonic()
        self._last_round = progress.round
        if self._store is not None:
            written = [part for part in parts or () if part is not None]
            self._store.checkpoint(progress.round, _server_arrays(progress), written)


def start_from(
    found: Checkpoint | None, experiment: Experiment, communicator: Communicator
) -> Start:
    """Where the run begins: at its initial weights, or where the checkpoint was written.

    The server's side is then on every rank, and each client's state on one of the workers.
    """
    if found is None:
        return Start(first_progress(experiment))
    vectors = {name: _tensor(array) for name, array in found.server.items()}
    progress = Progress(
        vectors["w"],
        vectors["buffers"],
        owned(_SERVER, vectors),
        found.round,
        means=owned(_MEANS, vectors),
    )
    holders = {}
    for number, client in enumerate(sorted(found.clients_held())):
        holders[client] = communicator.first_worker + number % communicator.workers
    own = [client for client, rank in holders.items() if rank == communicator.rank]
    return Start(progress, _states(found, own), holders)


def everywhere(found: Checkpoint | None, communicator: Communicator) -> Checkpoint | None:
    """The checkpoint that the server `found`, on every rank."""
    without_arrays = None if found is None else replace(found, server={})
    known = communicator.bcast(without_arrays)
    if known is None:
        return None
    server = communicator.replicate(None if found is None else found.server)
    return replace(known, server=server)


def _states(found: Checkpoint, clients: list[int]) -> Iterator[tuple[int, ClientState]]:
    for client, arrays in found.states(clients):
        vectors = {name: _tensor(array) for name, array in arrays.items()}
        yield client, ClientState.from_flat(vectors)


def _server_arrays(progress: Progress) -> dict[str, np.ndarray]:
    """All that the server needs to resume, by its name in the file."""
    arrays = {_SERVER + name: vector.numpy() for name, vector in progress.server.items()}
    arrays |= {_MEANS + name: vector.numpy() for name, vector in progress.means.items()}
    arrays["w"] = progress.w.numpy()
    arrays["buffers"] = progress.buffers.numpy()
    return arrays


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


class _Arrays(Mapping[int, dict[str, np.ndarray]]):
    """Clients' states as arrays, made one at a time: all together may not fit into memory."""

    def __init__(self, states: Mapping[int, Vectors]) -> None:
        self._states = states

    def __getitem__(self, client: int) -> dict[str, np.ndarray]:
        return {name: vector.numpy() for name, vector in self._states[client].items()}

    def __iter__(self) -> Iterator[int]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)
