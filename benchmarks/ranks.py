"""The program that `waiting` starts with mpirun on three ranks; rank 0 prints the times as JSON."""

from __future__ import annotations

import json
import sys
import time

from benchmarks import workloads
from benchmarks.pairs import Stopwatch, Times
from mpifl.parallel.communicator import Communicator
from mpifl.training import rounds
from mpifl.training.callback import Callback
from mpifl.training.client import Task, play
from mpifl.training.client_states import ClientState
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Sent
from mpifl.training.progress import Progress

CLIENTS = 6
"""of each worker in a turn"""


class Seconds(Callback):
    """The seconds of each round, and of the training of its slowest worker."""

    def __init__(self) -> None:
        self.rounds: list[tuple[float, float]] = []

    def round_finished(self, progress: Progress, last: bool) -> None:
        self.rounds.append((progress.figures["seconds"], progress.figures["seconds_train"]))


def turn(
    communicator: Communicator, x: Experiment, server: str, expected: float
) -> tuple[Times, Times]:
    """The workers train while rank 0 waits in `arrive`, waits in a plain barrier, or sleeps.

    Returns the times of the slowest worker and of the server.
    """
    communicator.arrive()
    watch = Stopwatch()
    if communicator.is_server:
        if server == "away":
            time.sleep(expected)
    else:
        net = x.clients.net
        sent = Sent({"w": net.weights.clone()}, net.buffers.clone())
        for client in range(CLIENTS):
            number = communicator.rank * CLIENTS + client
            play(x.clients, Task(number, 1, sent, ClientState({})))
    trained = watch.lap()
    if server == "spinning":
        communicator.Barrier()
    else:
        communicator.arrive()
    waited = watch.lap()
    times = communicator.allgather(waited if communicator.is_server else trained)
    return max(times[1:]), times[0]


def main(turns: int) -> None:
    """All turns, one after the other; then whole rounds."""
    communicator = Communicator()
    x = workloads.experiment(workloads.MANY_CLIENTS, rounds=5)
    slowest = Times(0.0, 0.0)
    measured: dict[str, list[tuple[Times, Times]]] = {"arrive": [], "away": [], "spinning": []}
    for number in range(turns + 1):
        for server, found in measured.items():
            slowest, waited = turn(communicator, x, server, slowest.wall)
            if number:
                found.append((slowest, waited))
    seconds = Seconds()
    rounds.run(x, communicator, [seconds])
    if communicator.is_server:
        print(json.dumps({**measured, "rounds": seconds.rounds[1:]}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
