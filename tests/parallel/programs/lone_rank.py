"""`lone_rank.py HOW`: a rank that is alone, without MPI. HOW is

hangs: it falls silent;
works: it reports for longer than its patience, and then is silent when it listens no more.
"""

from __future__ import annotations

import sys
import time

from mpifl.parallel.heartbeat import Heartbeat

PATIENCE = 1.0
FOREVER = 600.0


class Alone:
    """What a Heartbeat uses of an MPI.Intracomm."""

    rank = 0
    size = 1


def hang() -> None:
    time.sleep(FOREVER)


def work(heartbeat: Heartbeat) -> None:
    until = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < until:
        heartbeat.poll()
        time.sleep(PATIENCE / 10)


def main(how: str) -> None:
    heartbeat = Heartbeat(Alone())
    with heartbeat.listening(PATIENCE), heartbeat.playing():
        heartbeat.check(7, 3)
        if how == "hangs":
            hang()
        work(heartbeat)
    time.sleep(2 * PATIENCE)


if __name__ == "__main__":
    main(sys.argv[1])
