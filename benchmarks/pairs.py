"""Timing two things against each other on a machine that others use too: interleaved, and compared
pair by pair.

A slow second hits both halves of a pair alike, so the median of the pairs' ratios is steady where
the times are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Times(NamedTuple):
    """Seconds by the clock on the wall, and of this process's own computing."""

    wall: float
    cpu: float


class Stopwatch:
    """Measures from its making, or from the last `lap`."""

    def __init__(self) -> None:
        self.lap()

    def lap(self) -> Times:
        """The time since the last lap; starts the next."""
        before, self._now = (
            getattr(self, "_now", Times(0.0, 0.0)),
            Times(time.perf_counter(), time.process_time()),
        )
        return Times(self._now.wall - before.wall, self._now.cpu - before.cpu)


@dataclass
class Pairs:
    """Times of two things, measured in turn: `ours[i]` and `other[i]` are neighbours in time."""

    ours: list[Times] = field(default_factory=list)
    other: list[Times] = field(default_factory=list)

    def ratios(self, clock: str = "wall") -> np.ndarray:
        """ours / other of each pair; `clock` is wall or cpu."""
        return np.array(
            [
                getattr(a, clock) / getattr(b, clock)
                for a, b in zip(self.ours, self.other, strict=True)
            ]
        )

    def medians(self) -> tuple[float, float]:
        """Median wall seconds of ours and of the other."""
        return float(np.median([t.wall for t in self.ours])), float(
            np.median([t.wall for t in self.other])
        )


def interleave(
    ours: Callable[[], object],
    other: Callable[[], object],
    pairs: int,
    before: Callable[[], object] = lambda: None,
) -> Pairs:
    """Time both in turn, `pairs` times, after one call of each that does not count; `before` each,
    unmeasured.
    """
    ours(), other()
    result, watch = Pairs(), Stopwatch()
    for _ in range(pairs):
        for action, times in ((ours, result.ours), (other, result.other)):
            before()
            watch.lap()
            action()
            times.append(watch.lap())
    return result
