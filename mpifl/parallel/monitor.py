"""The monitor: a thread of every rank that exchanges heartbeats with the others.

How the death of a rank ends the job:

1. The system closes the dead process's connections; tcp_messages returns an empty one.
2. `Monitor._receive` sets `failure`, a sentence that names the rank.
3. In the main thread, `Heartbeat.poll` raises Lost with it, and runner/exit_codes ends all ranks.
4. If the main thread does not poll in time (it waits inside MPI), the monitor prints the sentence
   and ends the process itself; the server's monitor first tells all others to end.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
import traceback
from contextlib import suppress
from enum import IntEnum
from math import inf
from struct import Struct
from typing import Any

from mpifl.parallel.failure_detector import NO_LIMIT, FailureDetector, Report
from mpifl.parallel.heartbeat_tcp import connect
from mpifl.parallel.stop_request import StopRequest
from mpifl.parallel.timeouts import TIMEOUTS
from mpifl.terminal import say

_SLOW = 6.0  # times the limit, while large files are read or written
_MESSAGE = Struct("!Bqqd?d")  # a Kind and a Report
_SHORTEST_TIMER = 0.25  # seconds after the beat in which the monitor itself would print
_LONGEST_TIMER = 1e6
_STDERR = 2  # sys.stderr may be no file


class Kind(IntEnum):
    """What a message says, besides that its rank is alive."""

    ALIVE = 0
    STOP = 1
    """a signal has requested a stop"""
    LEFT = 2
    """this rank has done its work and takes part in no further collective"""
    FAILED = 3
    """this rank has raised an exception"""
    END = 4
    """a rank has printed what went wrong, or the server's monitor ends the job: end this process"""


class Activity:
    """What the main thread does, or threads that train for it (lanes: round and client are then of
    the one that reported last). They write it; the monitor reads it.
    """

    def __init__(self) -> None:
        self.round = 0
        self.client = -1
        self.last_report = time.monotonic()
        self.waiting = False
        self.slow = False
        self.limit = NO_LIMIT

    def report(self) -> None:
        """Note that the main thread is at work. While it waits inside MPI, this does nothing."""
        if not self.waiting:
            self.last_report = time.monotonic()

    def summary(self, now: float) -> Report:
        """What to tell the other ranks."""
        timeout = self.limit.seconds
        if self.slow:
            timeout *= _SLOW
        return Report(self.round, self.client, now - self.last_report, self.waiting, timeout)


class NoMonitor:
    """The monitor of a rank that is alone, before and after it is watched."""

    failure = ""
    main_thread_knows = False

    def wake(self) -> None:
        """There is nobody to tell."""

    def tell_failure(self) -> None:
        """There is nobody to tell."""

    def end_others(self) -> None:
        """There is nobody to tell."""


class Monitor:
    """The thread, for the ranks of a communicator (an MPI.Intracomm)."""

    def __init__(self, ranks: Any, activity: Activity, stop_request: StopRequest) -> None:
        self.failure = ""
        """why this process must end: what has gone wrong on another rank; empty if nothing has"""
        self.main_thread_knows = False
        """whether the main thread has seen `failure` and is ending this process"""
        self._rank = ranks.rank
        self._activity = activity
        self._stop_request = stop_request
        self._kind = Kind.ALIVE
        self._must_end = False
        self._stopped = False
        self._timer_start = -inf
        self._has_printed_stack = False
        self._connections = connect(ranks, _MESSAGE.size)
        self._detector = FailureDetector(
            self._rank,
            self._connections.hosts,
            time.monotonic(),
            # The server ends the job before the workers do: it has the run's files to close.
            margin=3 * TIMEOUTS.margin if self._rank else TIMEOUTS.margin,
            early=TIMEOUTS.early,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Send a heartbeat to the other ranks now; allowed in signal handlers."""
        self._connections.wake()

    def tell_failure(self) -> None:
        """Tell the server that this worker has raised an exception; the server tells its workers.

        On a worker it returns when the server has had time to close its files and end all ranks.
        """
        if self._rank == 0:
            self.end_others()
            return
        self._kind = Kind.FAILED
        self.wake()
        time.sleep(TIMEOUTS.close)

    def end_others(self) -> None:
        """Tell all connected ranks to end: this one has printed what went wrong.

        Call it before the process ends; else the others say that it has died.
        """
        self._kind = Kind.END
        self._send(Kind.END)

    def leave(self) -> None:
        """Tell the others that this rank has done its work; call it before the process ends."""
        self._kind = Kind.LEFT
        self._send(Kind.LEFT)

    def stop(self) -> None:
        """End the thread: all ranks have done their work."""
        self._stopped = True
        self.wake()

    def join(self) -> None:
        """Wait for the end of the thread, after `stop`, and free what it has used."""
        self._thread.join()
        self._cancel_timer()
        self._connections.close()

    def _run(self) -> None:
        try:
            self._exchange()
        except Exception:
            traceback.print_exc()
            self.failure = "the thread that exchanges heartbeats has failed"
        if not self._stopped:
            self._end_process()

    def _exchange(self) -> None:
        """Send and receive heartbeats until this process must end, or all ranks have left."""
        last_turn = time.monotonic()
        next_beat = last_turn
        last_kind = Kind.ALIVE
        while True:
            for rank, message in self._connections.wait(TIMEOUTS.beat):
                self._receive(rank, message)
            if self.failure or self._must_end or self._stopped:
                return
            now = time.monotonic()
            if now - last_turn > TIMEOUTS.beat + self._activity.limit.seconds / 2:
                self._forgive(now)
            last_turn = now
            kind = self._current_kind()
            if now >= next_beat or kind != last_kind:
                self._beat(kind, now)
                last_kind = kind
                next_beat = now + TIMEOUTS.beat

    def _current_kind(self) -> Kind:
        if self._kind == Kind.ALIVE and self._stop_request.reason:
            return Kind.STOP
        return self._kind

    def _beat(self, kind: Kind, now: float) -> None:
        """Send this rank's heartbeat, and look whether a rank has failed."""
        own = self._send(kind)
        self._print_stack_if_hung(own, now)
        self._detector.heard(self._rank, own, now)
        if kind == Kind.LEFT:
            self._detector.left(self._rank, now)
        self.failure = self._detector.failure(
            now, self._activity.limit, self._connections.unreachable
        )

    def _send(self, kind: Kind) -> Report:
        """Send a heartbeat to every connected rank."""
        own = self._activity.summary(time.monotonic())
        self._connections.send(_MESSAGE.pack(kind, *own))
        return own

    def _receive(self, rank: int, message: bytes) -> None:
        now = time.monotonic()
        detector = self._detector
        if not message:
            if detector.has_left(rank):
                detector.ended(rank, now)
            else:
                self.failure = (
                    f"{detector.name(rank)} has died, or was killed{detector.place(rank)}"
                )
            return
        kind, *fields = _MESSAGE.unpack(message)
        detector.heard(rank, Report(*fields), now)
        if kind == Kind.STOP:
            self._stop_request.make(f"a signal to rank {rank}")
        elif kind == Kind.LEFT:
            detector.left(rank, now)
        elif kind == Kind.FAILED:
            self.failure = (
                f"{detector.name(rank)} failed{detector.place(rank)}; its traceback says how"
            )
        elif kind == Kind.END:
            self._must_end = True

    def _forgive(self, now: float) -> None:
        """Ignore all silence before now: this process was stopped, and heard nobody."""
        self._activity.last_report = now
        self._detector.forgive(now)

    def _print_stack_if_hung(self, own: Report, now: float) -> None:
        """Print where the main thread is, once its timeout is over.

        This thread prints it while the main thread lets it run. faulthandler's timer is for a
        main thread that hangs in a library and lets no other thread run. It comes later, for it
        may crash the process while it reads the stack of a thread that runs.
        """
        if own.waiting or own.timeout == inf:
            self._cancel_timer()
            return
        if now - own.silence > self._timer_start:  # a report has come since
            remaining = own.timeout - own.silence + TIMEOUTS.beat + _SHORTEST_TIMER
            faulthandler.dump_traceback_later(_within(remaining), file=_STDERR)
            self._timer_start = now
            self._has_printed_stack = False
        if own.silence > own.timeout and not self._has_printed_stack:
            faulthandler.cancel_dump_traceback_later()
            with suppress(OSError):
                os.write(_STDERR, f"Timeout ({own.silence:.0f} s without a report)!\n".encode())
                faulthandler.dump_traceback(file=_STDERR)
            self._has_printed_stack = True

    def _cancel_timer(self) -> None:
        if self._timer_start > -inf:
            faulthandler.cancel_dump_traceback_later()
        self._timer_start = -inf

    def _end_process(self) -> None:
        """End this process, after a moment in which the main thread may end it in order."""
        with open(os.devnull, "w") as nowhere:
            # Printing may block if nobody reads the output.
            longest = 2 * (TIMEOUTS.react + TIMEOUTS.close)
            faulthandler.dump_traceback_later(longest, exit=True, file=nowhere)
            if self._rank == 0:
                self.end_others()
            time.sleep(TIMEOUTS.react)
            if self.main_thread_knows or not self.failure:
                time.sleep(TIMEOUTS.close)
            if self.failure:
                say(f"mpifl: rank {self._rank}: {self.failure}", error=True)
            os._exit(1)


def _within(seconds: float) -> float:
    """Seconds that faulthandler accepts."""
    return min(max(seconds, _SHORTEST_TIMER), _LONGEST_TIMER)
