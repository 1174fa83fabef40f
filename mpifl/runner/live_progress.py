"""The live line of `mpifl run` at a terminal: how many rounds are done, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from mpifl.terminal import duration
from mpifl.training.callback import Callback
from mpifl.training.progress import Progress

RECENT = 20
"""rounds from which the time left is estimated"""
_BAR_WIDTH = 20


def seconds_left(seconds: list[float], rounds: int) -> float:
    """The time that so many more rounds take, if they take as long as the last ones."""
    return float(np.median(seconds[-RECENT:])) * rounds


class LiveProgress(Callback):
    """Knows what the live line says; another thread asks for it."""

    def __init__(self, rounds: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`done`: rounds of a run that is resumed."""
        self._rounds = rounds
        self._done = done
        self._clock = clock
        self._since = clock()
        self._seconds: list[float] = []

    def round_finished(self, progress: Progress, last: bool) -> None:
        self._seconds.append(progress.figures["seconds"])
        self._done = progress.round
        self._since = self._clock()

    def text(self) -> str:
        """The line as it is now."""
        passed = self._clock() - self._since
        full = _BAR_WIDTH * self._done // self._rounds
        line = f"[{'#' * full}{'-' * (_BAR_WIDTH - full)}] {self._done} of {self._rounds} rounds"
        if not self._seconds:
            return f"{line}, the first takes {duration(passed)} so far"
        left = max(0.0, seconds_left(self._seconds, self._rounds - self._done) - passed)
        return f"{line}, the last {duration(passed)} ago, left {duration(left)}"
