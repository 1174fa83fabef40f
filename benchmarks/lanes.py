"""How much faster a rank plays several clients at once (`runtime.lanes`) than one after the other.

On a CPU each lane needs a core. What a GPU makes of it is in `gpu_clients.py`.
"""

from __future__ import annotations

import statistics

from benchmarks import workloads
from benchmarks.pairs import Pairs, Times
from benchmarks.report import Row
from benchmarks.workers import Seconds
from mpifl.config import merge
from mpifl.parallel.communicator import Communicator
from mpifl.training import rounds

_REPEATS = 3
_FEWER_SAMPLES = {"data": {"options": {"train": 512}}}
_CASES = (
    ("50 clients of a CNN", workloads.MANY_CLIENTS, 4),
    ("64 clients of a small MLP", workloads.TINY_STEPS, 100),
    ("16 clients of ResNet-56", merge(workloads.RESNET, _FEWER_SAMPLES), 3),
)
"""names, configs, rounds"""


def lanes() -> list[Row]:
    """a round on one rank with two lanes against one lane, on two cores or more"""
    communicator = Communicator()
    rows = []
    for name, raw, count in _CASES:
        pairs = Pairs()
        for _ in range(_REPEATS):
            for number, times in ((2, pairs.ours), (1, pairs.other)):
                seconds = _of_a_round(communicator, raw, count, number)
                times.append(Times(seconds, seconds))
        rows.append(Row.of(f"{name}, two lanes / one", pairs))
    return rows


def _of_a_round(communicator: Communicator, raw: dict, count: int, number: int) -> float:
    """The median seconds of a round with so many lanes."""
    config = merge(raw, {"runtime": {"lanes": number}})
    seconds = Seconds()
    rounds.run(workloads.experiment(config, count), communicator, [seconds])
    return statistics.median(seconds.rounds[1:])
