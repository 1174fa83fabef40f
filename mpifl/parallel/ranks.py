"""An MPI communicator whose heartbeat knows when this rank waits inside MPI, and large messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mpifl.parallel.heartbeat import Heartbeat
from mpifl.parallel.mpi import MPI

LARGEST_MESSAGE = 1 << 30
"""bytes: Open MPI refuses to count to 2^31"""


class Ranks(MPI.Intracomm):
    """An `MPI.Intracomm` whose heartbeat knows when the rank waits inside MPI."""

    heartbeat: Heartbeat

    def allgather(self, value: Any) -> list[Any]:
        with self.heartbeat.waiting():
            return super().allgather(value)

    def bcast(self, value: Any, root: int = 0) -> Any:
        with self.heartbeat.waiting():
            return super().bcast(value, root)

    def gather(self, value: Any, root: int = 0) -> list[Any] | None:
        with self.heartbeat.waiting():
            return super().gather(value, root)

    def Allreduce(self, *arguments: Any, **options: Any) -> None:
        with self.heartbeat.waiting():
            super().Allreduce(*arguments, **options)

    def Barrier(self) -> None:
        with self.heartbeat.waiting():
            super().Barrier()

    def Bcast(self, *arguments: Any, **options: Any) -> None:
        with self.heartbeat.waiting():
            super().Bcast(*arguments, **options)

    def Reduce(self, *arguments: Any, **options: Any) -> None:
        with self.heartbeat.waiting():
            super().Reduce(*arguments, **options)


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """A contiguous array, flat, in views small enough for one message each."""
    flat = array.reshape(-1)
    step = max(1, LARGEST_MESSAGE // flat.itemsize)
    for start in range(0, flat.size, step):
        yield flat[start : start + step]
