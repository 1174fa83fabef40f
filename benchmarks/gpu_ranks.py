"""The program that `gpu` starts with mpirun; rank 0 prints the seconds of each round as JSON."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from benchmarks import workloads
from benchmarks.gpu_work import device_of
from mpifl.config import merge
from mpifl.parallel.communicator import Communicator
from mpifl.training import rounds
from mpifl.training.callback import Callback
from mpifl.training.experiment import Experiment
from mpifl.training.progress import Progress

MORE = 4
"""rounds that are not counted: in the first ones graphs are made, and callbacks hear of a round
during the next one, but of the last one soon after it
"""


class Reports(Callback):
    """When each round was reported."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def round_finished(self, progress: Progress, last: bool) -> None:
        self.times.append(time.perf_counter())


def seconds_of_rounds(experiment: Experiment, communicator: Communicator) -> list[float]:
    """The seconds of each round of a run but `MORE` of them, on rank 0; nothing on the others."""
    reports = Reports()
    rounds.run(experiment, communicator, [reports])
    return np.diff(reports.times[MORE - 2 : -1]).tolist()


def main(work: dict) -> None:
    """One run of W1."""
    raw = merge(merge(workloads.MANY_CLIENTS, work["changes"]), {"runtime": {"graphs": "yes"}})
    communicator = Communicator()
    device = device_of(work["kind"])
    found = seconds_of_rounds(
        workloads.experiment(raw, work["rounds"] + MORE, device), communicator
    )
    if communicator.is_server:
        print(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
