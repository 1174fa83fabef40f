"""`lone_rank.py HOW`: a rank that is alone, without MPI. HOW is

hangs: it falls silent;
works: it reports for longer than its patience, and then is silent when it listens no more.

Its clock goes on when it says so: however slow the machine is, it has been silent for as long as it
wants to.
"""

from __future__ import annotations

import sys
import threading
import time

from mpifl.parallel import heartbeat, monitor

PATIENCE = 60.0
STEP = PATIENCE / 10
STEPS = 20
READS = 4
"""of the clock by the monitor, in which it has surely looked at this rank once"""


class Alone:
    """What a Heartbeat uses of an MPI.Intracomm."""

    rank = 0
    size = 1


class Clock:
    """In place of the module time. It stands still until `go_on`."""

    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self._now = 0.0
        self._reads = threading.Semaphore(0)

    def monotonic(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self._reads.release()
        return self._now

    def go_on(self) -> None:
        self._now += STEP

    def wait_for_the_monitor(self) -> None:
        while self._reads.acquire(blocking=False):
            pass
        for _ in range(READS):
            self._reads.acquire()


def hang(clock: Clock) -> None:
    while True:
        clock.go_on()
        clock.wait_for_the_monitor()


def work(clock: Clock, beats: heartbeat.Heartbeat) -> None:
    for _ in range(STEPS):
        clock.go_on()
        clock.wait_for_the_monitor()
        beats.poll()


def main(how: str) -> None:
    clock = Clock()
    heartbeat.time = clock  # type: ignore[attr-defined]
    monitor.time = clock  # type: ignore[attr-defined]
    beats = heartbeat.Heartbeat(Alone())
    with beats.listening(PATIENCE), beats.playing():
        beats.check(7, 3)
        if how == "hangs":
            hang(clock)
        work(clock, beats)
    for _ in range(STEPS):
        clock.go_on()
        time.sleep(0.005)


if __name__ == "__main__":
    main(sys.argv[1])
