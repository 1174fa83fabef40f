"""Arrays that one rank has read, for all ranks: in memory that a node's ranks share, or copied."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from mpifl.parallel.mpi import MPI
from mpifl.parallel.ranks import Ranks, pieces

Arrays = dict[str, np.ndarray]

_SPARE_SHARED_MEMORY = 1 << 26  # bytes left free in /dev/shm


def share(node: Ranks, arrays: Arrays | None) -> tuple[Arrays, MPI.Win | None]:
    """One copy of the arrays that a node's first rank passes, in memory that all its ranks read.

    The others pass None. The memory is mapped as long as the window lives. Where shared memory is
    too small, every rank gets a copy of its own, and no window.
    """
    described = _described(node, arrays)
    size = sum(array.room for array in described)
    if not node.bcast(shared_memory_free() > size + _SPARE_SHARED_MEMORY):
        return replicas(node, arrays), None
    window = MPI.Win.Allocate_shared(size if node.rank == 0 else 0, 1, comm=node)
    shared, _ = window.Shared_query(0)
    memory = np.frombuffer(shared, np.uint8)  # type: ignore[call-overload]  # mpi4py's buffer
    views = {}
    offset = 0
    for array in described:
        place = memory[offset : offset + array.bytes]
        views[array.name] = place.view(array.dtype).reshape(array.shape)
        offset += array.room
    if arrays is not None:
        for name, values in arrays.items():
            views[name][...] = values
    node.Barrier()
    return views, window


def replicas(ranks: Ranks, arrays: Arrays | None) -> Arrays:
    """The first rank's `arrays` on all `ranks`."""
    replicas = {}
    for name, shape, dtype in _described(ranks, arrays):
        if arrays is not None:
            replicas[name] = np.asarray(arrays[name], order="C")
        else:
            replicas[name] = np.empty(shape, dtype)
        for piece in pieces(replicas[name].reshape(-1).view(np.uint8)):
            ranks.Bcast(piece, root=0)
    return replicas


def shared_memory_free() -> int:
    """Bytes left in /dev/shm, where a node's one copy of the data set goes."""
    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


class _Described(NamedTuple):
    """An array without its values."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """What its values take."""
        return np.dtype(self.dtype).itemsize * int(np.prod(self.shape))

    @property
    def room(self) -> int:
        """Its bytes, so that the next array begins at a multiple of 64."""
        return -(-self.bytes // 64) * 64


def _described(ranks: Ranks, arrays: Arrays | None) -> list[_Described]:
    """The first rank's `arrays`, described on all `ranks`."""
    described = None
    if arrays is not None:
        described = [_Described(name, a.shape, a.dtype.str) for name, a in arrays.items()]
    return ranks.bcast(described)
