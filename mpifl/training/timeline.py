"""What each rank spends its time on: training, tests, waiting and writing, in seconds a round."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np


class Kind(IntEnum):
    """What a rank spends time on."""

    TRAIN = 0
    """training clients"""
    TEST = 1
    """its part of the evaluation of the server's model, and of means of models"""
    OWN_TEST = 2
    """tests of its clients' own models, with `evaluation.clients`"""
    WAIT = 3
    """waiting for other ranks, and for messages"""
    WRITE = 4
    """callbacks and checkpoints"""
    OTHER = 5
    """all else: the server's step, moving what clients keep"""


STORED = {
    "train": (Kind.TRAIN,),
    "test": (Kind.TEST, Kind.OWN_TEST),
    "wait": (Kind.WAIT,),
    "write": (Kind.WRITE,),
}
"""names of arrays in /timeline, and what they are the sum of"""


class Stopwatch:
    """The seconds of this rank by Kind; at each moment it counts one of them."""

    def __init__(self) -> None:
        self.batches = 0
        """of the evaluation that this rank has done"""
        self._seconds = np.zeros(len(Kind))
        self._kind = Kind.OTHER
        self._since = time.perf_counter()

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

    def _switch(self, kind: Kind) -> Kind:
        """Count as `kind` from now on; what was counted before."""
        before = self._kind
        now = time.perf_counter()
        self._seconds[before] += now - self._since
        self._since = now
        self._kind = kind
        return before


def with_waits(spent: np.ndarray) -> np.ndarray:
    """The seconds `spent` (float64 [ranks, Kind]) until all ranks met, with the wait for the last.

    >>> with_waits(np.array([[1.0, 0, 0, 0, 0, 0], [3.0, 0, 0, 0, 0, 0]]))[:, Kind.WAIT].tolist()
    [2.0, 0.0]
    """
    whole = spent.sum(1)
    waited = spent.copy()
    waited[:, Kind.WAIT] += whole.max() - whole
    return waited


def stored(spent: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays [ranks] of /timeline, from seconds [ranks, Kind]."""
    return {name: spent[:, list(kinds)].sum(1) for name, kinds in STORED.items()}
