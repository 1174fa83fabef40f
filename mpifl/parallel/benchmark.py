"""How long a round's two collectives take: the Bcast of weights down, and the Reduce of int64 sums
up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mpifl.parallel.communicator import Communicator

_SECONDS = 0.3  # for one operation at one size
_LEAST, _MOST = 5, 50  # repetitions


class Timed(NamedTuple):
    """Bytes and median seconds, of the slowest rank, for each of the two."""

    broadcast: int
    broadcast_seconds: float
    reduce: int
    reduce_seconds: float


def sizes(largest: float) -> list[int]:
    """Bytes to measure at: 8, for the latency, and four more, the last one `largest`, all multiples
    of 8.
    """
    return sorted({max(8, int(largest / 16**i) // 8 * 8) for i in range(4)} | {8})


def measure(communicator: Communicator, broadcast: int, reduce: int) -> Timed:
    """Time a Bcast of float32 and a Reduce of int64, of so many bytes; every rank takes part and
    gets the result.
    """
    weights = np.zeros(max(1, broadcast // 4), dtype=np.float32)
    sums = np.ones(max(1, reduce // 8), dtype=np.int64)
    total = np.empty_like(sums) if communicator.is_server else None
    return Timed(
        weights.nbytes,
        _median(communicator, lambda: communicator.Bcast(weights, root=0)),
        sums.nbytes,
        _median(communicator, lambda: communicator.Reduce(sums, total, root=0)),
    )


def _median(communicator: Communicator, operation: Callable[[], None]) -> float:
    def once() -> float:
        communicator.Barrier()
        began = time.perf_counter()
        operation()
        return time.perf_counter() - began

    once()
    warm = once()
    repetitions = communicator.bcast(int(np.clip(_SECONDS / max(warm, 1e-9), _LEAST, _MOST)))
    own = [once() for _ in range(repetitions)]
    return float(np.median(np.max(communicator.allgather(own), axis=0)))
