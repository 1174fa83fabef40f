"""The communicator of one run, with the few collectives that a round needs.

Rank 0 is the server. With more than one rank the others are the workers that play the clients;
alone, rank 0 is both. Vectors travel as one contiguous buffer: a Bcast down; up, Reduces of int64,
one for a short vector and several in turn for a long one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from mpifl.options import BadInput
from mpifl.parallel import launcher, mismatch, node_memory
from mpifl.parallel.exact_sum import BLOCK_READ, Message, WeightedSum
from mpifl.parallel.heartbeat import Heartbeat
from mpifl.parallel.mpi import MPI, library, wait_for_all
from mpifl.parallel.node_memory import Arrays
from mpifl.parallel.ranks import Ranks, pieces

Result = TypeVar("Result")

_SHORTEST_NAP, _LONGEST_NAP = 2e-5, 1e-3  # seconds
_NAPS = 50
"""a nap is at most this part of the wait so far"""
_QUICK_LOOKS = 30  # about as many microseconds
_LARGEST_MOVE = 1 << 28  # bytes of clients' states on their way at once


class AgreedBadInput(BadInput):
    """Bad input that every rank knows of: all raise it, so all can end in order."""


class Communicator(Ranks):
    """All ranks of a run; still an `MPI.Intracomm`.

    Raises BadInput when the launcher started several processes that do not know of each other.
    """

    node: Ranks
    """the ranks of this rank's node"""
    cores: int
    """of this node that its ranks may use"""
    bytes_moved: int
    """by this rank's Bcasts and Reduces, so far"""
    seconds_moved: float
    """that this rank has spent on messages so far, without the wait until all ranks have arrived;
    on the server also on turning sums into floats, which it does between Reduces
    """
    _quick_looks: int
    """how often to look for the other ranks before the first sleep"""
    _windows: list[MPI.Win]
    """keeps shared memory mapped"""

    def __new__(cls, communicator: MPI.Intracomm | None = None) -> Communicator:
        ranks = communicator or MPI.COMM_WORLD
        with launcher.starting():
            wait_for_all(ranks)  # the other ranks may still import modules
            self = super().__new__(cls, ranks.Dup())
            self.node = Ranks(self.Split_type(MPI.COMM_TYPE_SHARED))
            self.heartbeat = Heartbeat(ranks)
            self.node.heartbeat = self.heartbeat
        self.cores = len(set().union(*self.node.allgather(os.sched_getaffinity(0))))
        self._quick_looks = _QUICK_LOOKS if self.cores >= self.node.size else 0
        self._windows = []
        self.bytes_moved = 0
        self.seconds_moved = 0.0
        if communicator is None:
            mismatch.refuse_separate_jobs(library(), self.size)
        return self

    @property
    def is_server(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    @property
    def workers(self) -> int:
        """How many ranks play clients."""
        return max(1, self.size - 1)

    @property
    def first_worker(self) -> int:
        """The lowest rank that plays clients; the others follow it."""
        return self.size - self.workers

    @property
    def worker(self) -> int | None:
        """This rank's number among the workers, from 0; None for a server that has workers."""
        if self.rank < self.first_worker:
            return None
        return self.rank - self.first_worker

    def worker_on_node(self) -> tuple[int | None, int]:
        """This rank's number among its node's workers, and how many they are.

        The number is None for a server that has workers.
        """
        ranks = [rank for rank in self.node.allgather(self.rank) if rank >= self.first_worker]
        number = None if self.worker is None else ranks.index(self.rank)
        return number, len(ranks)

    def agree(self, action: Callable[[], Result]) -> Result:
        """`action()` on every rank; if any rank raises BadInput, all raise the first one's."""
        try:
            result = action()
            mistake = None
        except BadInput as error:
            mistake = str(error)
        self.arrive()
        mistakes = [line for line in self.allgather(mistake) if line]
        if mistakes:
            raise AgreedBadInput(mistakes[0])
        return result

    def first_known(self, value: Result | None) -> Result | None:
        """The value of the lowest rank that has one, on every rank; None where no rank has one."""
        if self.size == 1:
            return value
        self.arrive()
        with self._moving():
            values = self.allgather(value)
        known = [found for found in values if found is not None]
        return known[0] if known else None

    def arrive(self) -> None:
        """Wait for all ranks.

        Sleeps between looks, so that a core is free for a client and signal handlers run; but not
        between the first ones where each rank has a core, because the others are often there.
        """
        request = self.Ibarrier()
        for _ in range(self._quick_looks):
            if request.Test():
                return
        began = time.perf_counter()
        with self.heartbeat.waiting():
            while not request.Test():
                self.heartbeat.poll()
                nap = (time.perf_counter() - began) / _NAPS  # so that little is added to a wait
                time.sleep(min(max(nap, _SHORTEST_NAP), _LONGEST_NAP))

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Count the time inside this context as that of messages."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds_moved += time.perf_counter() - began

    def broadcast(self, message: Message) -> Message:
        """The server's `message` on every rank, in one Bcast through host memory.

        Its vectors `[n]` have one float type. Every rank passes a message of the same names, sizes
        and type; the workers' values do not matter.
        """
        if self.size == 1:
            return message
        vectors = list(message.values())
        sizes = [vector.numel() for vector in vectors]
        with self._moving():
            if self.is_server:
                packed = torch.cat([vector.reshape(-1) for vector in vectors]).cpu()
            else:
                packed = torch.empty(sum(sizes), dtype=vectors[0].dtype)
        self.arrive()
        with self._moving():
            for piece in pieces(packed.numpy()):
                self.Bcast(piece, root=0)
            unpacked = packed.to(vectors[0].device).split(sizes)
        self.bytes_moved += packed.nbytes
        return dict(zip(message, unpacked, strict=True))

    def total(self, sums: WeightedSum, figures: Arrays) -> tuple[Message, Arrays] | None:
        """The sum of every rank's `sums`, and of its `figures` (float64), on the server; else None.

        Each figure is filled by one rank and zero elsewhere, so that adding bit patterns as int64
        gathers it exactly. All ranks pass figures of the same names and shapes. The server's
        `sums` is used up.
        """
        if self.size == 1:
            return sums.total(), figures
        integers, owed = sums.integers()
        arrays = [np.ascontiguousarray(array).view(np.int64) for array in figures.values()]
        patterns = np.concatenate([owed, *(array.ravel() for array in arrays)])
        self.arrive()
        with self._moving():
            self._add_up(torch.from_numpy(patterns))
            length = BLOCK_READ * self.workers  # a Reduce of many ranks cuts it into as many pieces
            if not self.is_server:
                for block in sums.blocks(integers, length):
                    self._add_up(block)
                return None
            vectors = sums.values(integers, patterns[: len(owed)], self._add_up, length)
        totals: Arrays = {}
        offset = len(owed)
        for name, array in figures.items():
            pattern = patterns[offset : offset + array.size]
            totals[name] = pattern.view(np.float64).reshape(array.shape)
            offset += array.size
        return vectors, totals

    def _add_up(self, integers: torch.Tensor) -> None:
        """Replace the server's int64 `integers` by their sum over ranks; no copy is made."""
        for piece in pieces(integers.numpy()):
            if self.is_server:
                self.Reduce(MPI.IN_PLACE, piece, op=MPI.SUM, root=0)
            else:
                self.Reduce(piece, None, op=MPI.SUM, root=0)
        self.bytes_moved += integers.nbytes

    def everywhere(self, values: np.ndarray) -> np.ndarray:
        """The element-wise sum over ranks, on every rank.

        Exact where only one rank's element is not zero.
        """
        if self.size == 1:
            return values
        self.arrive()
        result = np.array(values, order="C")
        with self._moving():
            for piece in pieces(result):
                self.Allreduce(MPI.IN_PLACE, piece, op=MPI.SUM)
        return result

    def replicate(self, arrays: Arrays | None) -> Arrays:
        """The server's `arrays`, of any types and shapes, on every rank; the others pass None."""
        return node_memory.replicas(self, arrays)

    def move(
        self, states: MutableMapping[int, Message], like: Message, moves: list[tuple[int, int, int]]
    ) -> None:
        """Move the states of clients between ranks.

        `moves` are (client, from rank, to rank), the same on all ranks.

        `states` holds what this rank keeps (vectors on the host), `like` names a state's vectors,
        sizes and types.
        """
        bytes_each = sum(vector.nbytes for vector in like.values())
        at_once = max(1, _LARGEST_MOVE // max(1, bytes_each))
        for start in range(0, len(moves), at_once):
            with self._moving():
                self._move(states, like, moves[start : start + at_once])

    def _move(
        self, states: MutableMapping[int, Message], like: Message, moves: list[tuple[int, int, int]]
    ) -> None:
        # Both sides go through the moves in the same order, so messages need no tags.
        requests: list[MPI.Request] = []
        arriving: dict[int, Message] = {}
        for client, source, target in moves:
            if self.rank == source:
                for piece in _pieces_of(states[client]):
                    requests.append(self.Isend(piece, target))
            elif self.rank == target:
                arriving[client] = {name: torch.empty_like(v) for name, v in like.items()}
                for piece in _pieces_of(arriving[client]):
                    requests.append(self.Irecv(piece, source))
        with self.heartbeat.waiting():
            MPI.Request.Waitall(requests)
        for client, source, _ in moves:
            if self.rank == source:
                del states[client]
        states.update(arriving)

    def share(self, arrays: Arrays | None) -> Arrays:
        """One copy a node of the arrays that the node's first rank passes, read by all its ranks.

        The others pass None. Where shared memory is too small, every rank gets a copy of its own.
        """
        if self.node.size == 1:
            assert arrays is not None
            return arrays
        shared, window = node_memory.share(self.node, arrays)
        if window is not None:
            self._windows.append(window)
        return shared


def _pieces_of(vectors: Message) -> Iterator[np.ndarray]:
    """The pieces of several vectors, which are on the host."""
    for vector in vectors.values():
        yield from pieces(vector.numpy())
