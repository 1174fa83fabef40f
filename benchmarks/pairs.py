"""Timing two things against each other on a machine that others use too: in turn, and compared pair
by pair.

A slow second affects both halves of a pair, so the median of the pairs' ratios is steady when the
times are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Times(NamedTuple):
    """Seconds of wall-clock time, and of this process's CPU time."""

    wall: float
    cpu: float


class Stopwatch:
    """Measures time from its construction, or from the last `lap`."""

    def __init__(self) -> None:
        self._began = _now()

    def lap(self) -> Times:
        """The time since the last lap; starts the next one."""
        now = _now()
        lap = Times(now.wall - self._began.wall, now.cpu - self._began.cpu)
        self._began = now
        return lap


def _now() -> Times:
    return Times(time.perf_counter(), time.process_time())


@dataclass
class Pairs:
    """Times of two things, measured in turn: `ours[i]` and `other[i]` are neighbours in time."""

    ours: list[Times] = field(default_factory=list)
    other: list[Times] = field(default_factory=list)

    def ratios(self, clock: str = "wall") -> np.ndarray:
        """ours / other of each pair; `clock` is wall or cpu."""
        ours = np.array([getattr(times, clock) for times in self.ours])
        other = np.array([getattr(times, clock) for times in self.other])
        return ours / other

    def medians(self) -> tuple[float, float]:
        """Median wall seconds of ours and of the other."""
        ours = np.median([times.wall for times in self.ours])
        other = np.median([times.wall for times in self.other])
        return float(ours), float(other)


def interleave(
    ours: Callable[[], object],
    other: Callable[[], object],
    pairs: int,
    before: Callable[[], object] = lambda: None,
) -> Pairs:
    """Time both in turn, `pairs` times, after one call of each that does not count.

    `before` is called before each of them, and is not timed.
    """
    ours()
    other()
    result = Pairs()
    watch = Stopwatch()
    for _ in range(pairs):
        for action, times in ((ours, result.ours), (other, result.other)):
            before()
            watch.lap()
            action()
            times.append(watch.lap())
    return result
