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

    With "auto" a run begins with one lane, also when it is resumed. The number is doubled as long
    as that saves a tenth of the time of the busiest worker, every rank has room, and a worker has
    as many clients. Rounds on trial are rounds of the run like all others, since the bits do not
    depend on the number of lanes.

    >>> choice = LaneChoice("auto")
    >>> lanes = []
    >>> for seconds in [9.0, 4.0, 4.1, 4.2, 9.0, 2.0, 2.0, 2.1, 9.0, 1.9, 1.9, 1.9, 2.0]:
    ...     lanes.append(choice.lanes)
    ...     choice.learn(seconds, most=8)
    >>> lanes
    [1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 2]
    """

    def __init__(self, wanted: LanesWanted) -> None:
        self.lanes = 1 if wanted == "auto" else wanted
        """of each rank, in the next round"""
        self.is_on_trial = wanted == "auto"
        self._rounds: list[float] = []
        """what a unit of work took in each round with this number of lanes, in seconds"""
        self._most = 1
        """lanes that a round with this number of lanes could have used"""
        self._least = math.inf
        """seconds that a unit of work took with half as many lanes"""

    def after(self, plan: RoundPlan, spent: np.ndarray, room: int) -> None:
        """Learn from a round, of its seconds [ranks, Kind].

        `room`: the most lanes that every worker has room for. A round in which no worker has as
        many clients as lanes says nothing.
        """
        if not self.is_on_trial:
            return
        most_clients = max(len(clients) for clients in plan.assigned)
        if most_clients < self.lanes:
            return
        seconds = spent[:, Kind.TRAIN] + spent[:, Kind.OWN_TEST]
        work = units_of_work(plan, len(spent))
        self.learn(float(seconds.max() / work.max()), min(room, most_clients, MOST_LANES))

    def learn(self, seconds: float, most: int) -> None:
        """Learn from a round on trial in which a unit of work took so many seconds.

        `most`: how many lanes it could have used.
        """
        self._rounds.append(seconds)
        self._most = max(self._most, most)
        if len(self._rounds) < _UNCOUNTED + _COUNTED:
            return
        least = min(self._rounds[_UNCOUNTED:])
        if least > _GAIN * self._least:
            self.lanes //= 2
            self.is_on_trial = False
        elif 2 * self.lanes > self._most:
            self.is_on_trial = False
        else:
            self.lanes *= 2
            self._least = least
            self._rounds = []
            self._most = 1
