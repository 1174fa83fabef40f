"""Federation: the communicator of one run, with the few collectives that a round needs.

Rank 0 is the server. With more than one rank the others are the workers that play the clients;
alone, rank 0 is both. Vectors travel as one contiguous buffer: a Bcast down, a Reduce of int64 up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, MutableMapping
from functools import wraps
from operator import attrgetter
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mpifl.options import BadInput
from mpifl.parallel import launcher
from mpifl.parallel.exact_sum import Message, WeightedSum
from mpifl.parallel.heartbeat import Heartbeat
from mpifl.parallel.mpi import MPI, library

Result = TypeVar("Result")

_LONGEST_NAP = 1e-3  # seconds
_LARGEST_MESSAGE = 1 << 30  # bytes: Open MPI refuses to count to 2^31
_LARGEST_MOVE = 1 << 28  # bytes of clients' states on their way at once


class AgreedBadInput(BadInput):
    """Bad input that every rank knows of: all raise it, so all can end in order."""


def _in_sight(collective: Callable[..., Result]) -> Callable[..., Result]:
    """A collective during which the rank is known to wait inside MPI."""

    @wraps(collective)
    def method(self: _Ranks, *arguments: object, **options: object) -> Result:
        with self.heartbeat.waiting():
            return collective(self, *arguments, **options)

    return method


class _Ranks(MPI.Intracomm):
    """An `MPI.Intracomm` whose collectives are seen by a `pulse`."""

    heartbeat: Heartbeat

    allgather, bcast, gather, Allreduce, Barrier, Bcast, Reduce = map(
        _in_sight,
        attrgetter("allgather", "bcast", "gather", "Allreduce", "Barrier", "Bcast", "Reduce")(
            MPI.Intracomm
        ),
    )


class Communicator(_Ranks):
    """All ranks of a run; still an `MPI.Intracomm`.

    Raises BadInput when the launcher started several processes that do not know of each other.
    """

    def __new__(cls, communicator: MPI.Intracomm | None = None) -> Communicator:
        ranks = communicator or MPI.COMM_WORLD
        with launcher.starting():
            self = super().__new__(cls, ranks.Dup())
            self.node = _Ranks(self.Split_type(MPI.COMM_TYPE_SHARED))
            self.heartbeat = self.node.heartbeat = Heartbeat(ranks)
        self._windows = []  # keeps shared memory mapped
        self.bytes_moved = 0
        launched = launcher.ranks()
        if communicator is None and launched and launched != self.size:
            raise BadInput(
                f"launcher: expected one job of {launched} ranks; got {launched} separate jobs of {self.size}: this "
                f"Python uses {library()}, another MPI than the launcher's (`mpifl doctor` says more)"
            )
        return self

    @property
    def is_server(self) -> bool:
        return self.rank == 0

    @property
    def workers(self) -> int:
        """How many ranks play clients."""
        return max(1, self.size - 1)

    @property
    def worker(self) -> int | None:
        """This rank's number among the workers, or None for a server that has some."""
        return self.rank - 1 if self.size > 1 and self.rank else (0 if self.size == 1 else None)

    def worker_on_node(self) -> tuple[int | None, int]:
        """This rank's number among its node's workers (None for a server that has some), and how
        many they are.
        """
        ranks = [rank for rank in self.node.allgather(self.rank) if rank or self.size == 1]
        return (ranks.index(self.rank) if self.worker is not None else None), len(ranks)

    def agree(self, action: Callable[[], Result]) -> Result:
        """`action()` on every rank; if it is BadInput on any, then on all, with the first one's
        line.
        """
        result, mistake = None, None
        try:
            result = action()
        except BadInput as error:
            mistake = str(error)
        self.arrive()
        mistakes = [m for m in self.allgather(mistake) if m]
        if mistakes:
            raise AgreedBadInput(mistakes[0])
        return result

    def arrive(self) -> None:
        """Wait for all ranks, asleep between looks, so that a core is free for a client and signal
        handlers run.
        """
        request, nap = self.Ibarrier(), 2e-5
        with self.heartbeat.waiting():
            while not request.Test():
                self.heartbeat.poll()
                time.sleep(nap)
                nap = min(_LONGEST_NAP, nap * 1.5)

    def broadcast(self, message: Message) -> Message:
        """The server's `message` on every rank: vectors `[n]` of one float type, in one Bcast
        through host memory.

        Every rank passes a message of the same names, sizes and type; the workers' values do not
        matter.
        """
        if self.size == 1:
            return message
        vectors = list(message.values())
        packed = (
            torch.cat([v.reshape(-1) for v in vectors]) if self.is_server else _empty_like(vectors)
        )
        packed = packed.cpu()
        self.arrive()
        for piece in _pieces(packed.numpy()):
            self.Bcast(piece, root=0)
        self.bytes_moved += packed.numel() * packed.element_size()
        pieces = packed.to(vectors[0].device).split([v.numel() for v in vectors])
        return dict(zip(message, pieces, strict=True))

    def total(self, sums: WeightedSum, rows: np.ndarray) -> tuple[Message, np.ndarray] | None:
        """The sum of every rank's `sums`, and of `rows` (float64 `[clients, columns]`); on the
        server, else None.

        Each row is filled by one rank and zero elsewhere, so adding bit patterns as int64 gathers
        the rows exactly, in the one Reduce that carries the vectors.
        """
        own = sums.integers().cpu()
        if self.size == 1:
            return sums.values(own), rows
        packed = np.concatenate(
            [own.numpy(), np.ascontiguousarray(rows, dtype=np.float64).view(np.int64).ravel()]
        )
        self.arrive()
        for piece in _pieces(packed):
            self.Reduce(
                *((MPI.IN_PLACE, piece) if self.is_server else (piece, None)), op=MPI.SUM, root=0
            )
        self.bytes_moved += packed.nbytes
        if not self.is_server:
            return None
        vectors, rest = packed[: own.numel()], packed[own.numel() :]
        return sums.values(torch.from_numpy(vectors)), rest.view(np.float64).reshape(rows.shape)

    def everywhere(self, values: np.ndarray) -> np.ndarray:
        """The element-wise sum over ranks, on every rank; exact where only one rank's element is
        not zero.
        """
        if self.size == 1:
            return values
        self.arrive()
        result = np.array(values, order="C")
        for piece in _pieces(result):
            self.Allreduce(MPI.IN_PLACE, piece, op=MPI.SUM)
        return result

    def replicate(self, arrays: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """The server's `arrays`, of any types and shapes, on every rank; the others' do not matter."""
        return arrays if self.size == 1 else _replicas(self, arrays)

    def move(
        self, states: MutableMapping[int, Message], like: Message, moves: list[tuple[int, int, int]]
    ) -> None:
        """Move the states of clients between ranks: `moves` of (client, from rank, to rank), the
        same on all ranks.

        `states` holds what this rank keeps (vectors on the host), `like` names a state's vectors,
        sizes and types.
        """
        at_once = max(1, _LARGEST_MOVE // max(1, sum(v.nbytes for v in like.values())))
        for start in range(0, len(moves), at_once):
            self._move(states, like, moves[start : start + at_once])

    def _move(
        self, states: MutableMapping[int, Message], like: Message, moves: list[tuple[int, int, int]]
    ) -> None:
        requests, arriving = [], []
        # on both sides in this order, so that no tag need say which is which
        for client, source, target in moves:
            if self.rank == source:
                requests += [
                    self.Isend(p, target)
                    for v in states[client].values()
                    for p in _pieces(v.numpy())
                ]
            elif self.rank == target:
                state = {name: torch.empty_like(vector) for name, vector in like.items()}
                requests += [
                    self.Irecv(p, source) for v in state.values() for p in _pieces(v.numpy())
                ]
                arriving.append((client, state))
        with self.heartbeat.waiting():
            MPI.Request.Waitall(requests)
        for client, source, _ in moves:
            if self.rank == source:
                del states[client]
        states.update(arriving)

    def share(self, arrays: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """One copy a node of the arrays that the node's first rank passes, read by all its ranks.

        The others pass None. Where shared memory is too small, every rank gets a copy of its own.
        """
        node = self.node
        if node.size == 1:
            return arrays
        described = _described(node, arrays)
        size = sum(_aligned(np.dtype(d).itemsize * int(np.prod(s))) for _, s, d in described)
        if not node.bcast(shared_memory_free() > size + (64 << 20)):
            return _replicas(node, arrays)
        window = MPI.Win.Allocate_shared(size if node.rank == 0 else 0, 1, comm=node)
        memory = np.frombuffer(window.Shared_query(0)[0], dtype=np.uint8)
        views, offset = {}, 0
        for name, shape, dtype in described:
            length = np.dtype(dtype).itemsize * int(np.prod(shape))
            views[name] = memory[offset : offset + length].view(dtype).reshape(shape)
            if arrays:
                views[name][...] = arrays[name]
            offset += _aligned(length)
        node.Barrier()
        self._windows.append(window)
        return views


def _empty_like(vectors: list[Tensor]) -> Tensor:
    return torch.empty(sum(v.numel() for v in vectors), dtype=vectors[0].dtype)


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def shared_memory_free() -> int:
    """Bytes left in /dev/shm, where a node's one copy of the data set goes."""
    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """A contiguous array, flat, in views small enough for one message each."""
    flat = array.reshape(-1)
    step = max(1, _LARGEST_MESSAGE // flat.itemsize)
    return (flat[start : start + step] for start in range(0, flat.size, step))


def _described(
    ranks: MPI.Intracomm, arrays: dict[str, np.ndarray] | None
) -> list[tuple[str, tuple, str]]:
    """Names, shapes and types of the first rank's `arrays`, on all `ranks`."""
    return ranks.bcast(arrays and [(k, a.shape, a.dtype.str) for k, a in arrays.items()])


def _replicas(ranks: MPI.Intracomm, arrays: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """The first rank's `arrays` on all `ranks`."""
    replicas = {}
    for name, shape, dtype in _described(ranks, arrays if ranks.rank == 0 else None):
        replicas[name] = (
            np.asarray(arrays[name], order="C") if ranks.rank == 0 else np.empty(shape, dtype)
        )
        for piece in _pieces(replicas[name].reshape(-1).view(np.uint8)):
            ranks.Bcast(piece, root=0)
    return replicas
