"""How many clients a rank trains at once: a number of the config, or the server's choice."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from mpifl.training.dealing import units_of_work
from mpifl.training.lanes import MOST_LANES
from mpifl.training.sampling import RoundPlan
from mpifl.training.timeline import Kind

LanesWanted = int | Literal["auto"]

_UNCOUNTED = 1
"""rounds of a new number of lanes that do not count: networks are copied, and steps recorded"""
_COUNTED = 3
"""rounds after them; the fastest tells, because what disturbs a round makes it longer"""
_GAIN = 0.9
"""of the time: a number of lanes that saves less is not worth its memory"""


class LaneChoice:
    """The server's choice of the number of lanes, which is the same on every rank.

    With "auto" a run begins with one lane. The number is doubled as long as that saves a tenth of
    the training time, every rank has room, and a rank has as many clients. Rounds on trial are
    rounds of the run like all others, since the bits do not depend on the number of lanes.

    >>> choice = LaneChoice("auto")
    >>> lanes = []
    >>> for seconds in [9.0, 4.0, 4.1, 4.2, 9.0, 2.0, 2.0, 2.1, 9.0, 1.9, 1.9, 1.9, 2.0]:
    ...     lanes.append(choice.lanes)
    ...     choice.learn(seconds, room=8)
    >>> lanes
    [1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 2]
    """

    def __init__(self, wanted: LanesWanted) -> None:
        self.lanes = 1 if wanted == "auto" else wanted
        """of each rank, in the next round"""
        self._is_on_trial = wanted == "auto"
        self._rounds: list[float] = []
        """what a unit of work took in each round with this number of lanes, in seconds"""
        self._least = math.inf
        """what it took with half as many lanes"""

    def after(self, plan: RoundPlan, spent: np.ndarray, room: int) -> None:
        """Learn from a round, of its seconds [ranks, Kind].

        `room`: the most lanes that every rank has room for.
        """
        work = units_of_work(plan, len(spent)).sum()
        if self._is_on_trial and work > 0:
            most_clients = max(len(clients) for clients in plan.assigned)
            seconds = float(spent[:, Kind.TRAIN].sum() / work)
            self.learn(seconds, min(room, most_clients, MOST_LANES))

    def learn(self, seconds: float, room: int) -> None:
        """Learn from a round in which a unit of work took so many seconds."""
        if not self._is_on_trial:
            return
        self._rounds.append(seconds)
        if len(self._rounds) < _UNCOUNTED + _COUNTED:
            return
        least = min(self._rounds[_UNCOUNTED:])
        if least > _GAIN * self._least:
            self.lanes //= 2
            self._is_on_trial = False
        elif 2 * self.lanes > room:
            self._is_on_trial = False
        else:
            self.lanes *= 2
            self._least = least
            self._rounds = []
