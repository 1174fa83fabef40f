"""The time of a round's two collectives: the Bcast of weights, and the Reduce of int64 sums."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mpifl.parallel.communicator import Communicator

_SECONDS = 0.3  # in which to repeat one collective of one size
_FEWEST, _MOST = 5, 50  # repetitions


class Timed(NamedTuple):
    """Bytes and seconds of both collectives; the seconds are medians, of the slowest rank."""

    broadcast: int
    broadcast_seconds: float
    reduce: int
    reduce_seconds: float


def sizes(largest: float) -> list[int]:
    """Message sizes to measure, in bytes: 8, for the latency, then up to `largest` in steps of 16.

    All are multiples of 8.

    >>> sizes(1e6)
    [8, 240, 3904, 62496, 1000000]
    """
    steps = {int(largest / 16**step) // 8 * 8 for step in range(4)}
    return sorted({max(8, size) for size in steps} | {8})


def measure(communicator: Communicator, broadcast: int, reduce: int) -> Timed:
    """Time a Bcast of float32 and a Reduce of int64, of so many bytes each.

    Every rank calls it and gets the result.
    """
    weights = np.zeros(max(1, broadcast // 4), dtype=np.float32)
    sums = np.ones(max(1, reduce // 8), dtype=np.int64)
    total = np.empty_like(sums) if communicator.is_server else None
    broadcast_seconds = _median_seconds(communicator, lambda: communicator.Bcast(weights, root=0))
    reduce_seconds = _median_seconds(communicator, lambda: communicator.Reduce(sums, total, root=0))
    return Timed(weights.nbytes, broadcast_seconds, sums.nbytes, reduce_seconds)


def _median_seconds(communicator: Communicator, collective: Callable[[], None]) -> float:
    """The median time of a collective, each time that of the slowest rank."""
    _seconds(communicator, collective)  # the first call also sets up buffers
    warm = _seconds(communicator, collective)
    repetitions = int(np.clip(_SECONDS / max(warm, 1e-9), _FEWEST, _MOST))
    repetitions = communicator.bcast(repetitions)
    own = [_seconds(communicator, collective) for _ in range(repetitions)]
    slowest = np.max(communicator.allgather(own), axis=0)
    return float(np.median(slowest))


def _seconds(communicator: Communicator, collective: Callable[[], None]) -> float:
    communicator.Barrier()
    began = time.perf_counter()
    collective()
    return time.perf_counter() - began
