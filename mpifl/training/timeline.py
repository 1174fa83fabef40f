"""What each rank spends its time on: training, tests, waiting, messages and files, in seconds a
round.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator


class Kind(IntEnum):
    """What a rank spends time on."""

    TRAIN = 0
    """training clients"""
    TEST = 1
    """its part of the evaluation of the server's model, and of means of models"""
    OWN_TEST = 2
    """tests of its clients' own models, with `evaluation.clients`"""
    WAIT = 3
    """waiting until all other ranks are there"""
    COMMUNICATE = 4
    """sending and receiving, once all ranks are there, and what clients keep; on rank 0 also
    turning sums into floats
    """
    WRITE = 5
    """callbacks and checkpoints"""
    OTHER = 6
    """all else, such as the server's step"""


STORED = {
    "train": (Kind.TRAIN,),
    "test": (Kind.TEST, Kind.OWN_TEST),
    "wait": (Kind.WAIT,),
    "communicate": (Kind.COMMUNICATE,),
    "write": (Kind.WRITE,),
}
"""names of arrays in /timeline, and what they are the sum of"""


class Stopwatch:
    """The seconds of this rank by Kind; at each moment it counts one of them.

    Seconds in which the communicator moves messages count as COMMUNICATE, whatever else they are
    in.
    """

    def __init__(self, communicator: Communicator) -> None:
        self.batches = 0
        """of the evaluation that this rank has done"""
        self._communicator = communicator
        self._seconds = np.zeros(len(Kind))
        self._kind = Kind.OTHER
        self._since = time.perf_counter()
        self._moved = communicator.seconds_moved

    @contextmanager
    def spending(self, kind: Kind) -> Iterator[None]:
        """Inside this context, time counts as `kind`; inside another one, as that one's."""
        outer = self._switch(kind)
        try:
            yield
        finally:
            self._switch(outer)

    def take(self) -> tuple[np.ndarray, int]:
        """float64 [Kind]: seconds since the last call; and batches evaluated since then."""
        self._switch(self._kind)
        taken = (self._seconds, self.batches)
        self._seconds = np.zeros(len(Kind))
        self.batches = 0
        return taken

    def keep_messages(self) -> None:
        """Forget the time since the last `take`, but not that of messages: the next call has it."""
        seconds, _ = self.take()
        self._seconds[Kind.COMMUNICATE] = seconds[Kind.COMMUNICATE]

    def _switch(self, kind: Kind) -> Kind:
        """Count as `kind` from now on; what was counted before."""
        before = self._kind
        now = time.perf_counter()
        moved = self._communicator.seconds_moved
        self._seconds[Kind.COMMUNICATE] += moved - self._moved
        self._seconds[before] += now - self._since - (moved - self._moved)
        self._since = now
        self._moved = moved
        self._kind = kind
        return before


def with_waits(spent: np.ndarray) -> np.ndarray:
    """The seconds `spent` (float64 [ranks, Kind]) until all ranks met, with the wait for the last.

    >>> spent = np.zeros((2, len(Kind)))
    >>> spent[:, Kind.TRAIN] = [1.0, 3.0]
    >>> with_waits(spent)[:, Kind.WAIT].tolist()
    [2.0, 0.0]
    """
    whole = spent.sum(1)
    waited = spent.copy()
    waited[:, Kind.WAIT] += whole.max() - whole
    return waited


def stored(spent: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays [ranks] of /timeline, from seconds [ranks, Kind]."""
    return {name: spent[:, list(kinds)].sum(1) for name, kinds in STORED.items()}
