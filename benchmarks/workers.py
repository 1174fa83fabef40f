"""How much faster two workers are than one where clients are tiny: rounds of TINY_STEPS.

`python -m benchmarks.workers` is the program that mpirun starts.
"""

from __future__ import annotations

import json
import statistics
import sys

from benchmarks import workloads
from benchmarks.on_ranks import on_ranks
from benchmarks.pairs import Pairs, Times
from benchmarks.report import Row
from mpifl.parallel.communicator import Communicator
from mpifl.training import rounds
from mpifl.training.callback import Callback
from mpifl.training.progress import Progress

_REPEATS = 5
_ROUNDS = 200


class Seconds(Callback):
    """The seconds of each round."""

    def __init__(self) -> None:
        self.rounds: list[float] = []

    def round_finished(self, progress: Progress, last: bool) -> None:
        self.rounds.append(progress.figures["seconds"])


def workers() -> list[Row]:
    """very little arithmetic: a round on two workers against one on one worker"""
    pairs = Pairs()
    for _ in range(_REPEATS):
        for ranks, times in ((3, pairs.ours), (2, pairs.other)):
            seconds = on_ranks(ranks, "benchmarks.workers", _ROUNDS)
            times.append(Times(seconds, seconds))
    return [Row.of("round on two workers / on one", pairs, bar=1 / 1.6)]


def main() -> None:
    """Play rounds on all ranks; rank 0 prints the median of their seconds."""
    communicator = Communicator()
    experiment = workloads.experiment(workloads.TINY_STEPS, int(sys.argv[1]))
    seconds = Seconds()
    rounds.run(experiment, communicator, [seconds])
    if communicator.is_server:
        print(json.dumps(statistics.median(seconds.rounds)))


if __name__ == "__main__":
    main()
