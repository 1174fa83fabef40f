"""Heartbeats between the server and its workers, beside the collectives.

Every second, a thread of each worker tells the server what its main thread does and when it last
reported, and the server tells the workers. So a rank that hangs or dies is noticed and named while
the others wait inside MPI; a signal to one rank stops all; and the server learns of a worker's
exception.

Which silence of a rank is too long depends on its state (P: `patience`, runtime.patience_minutes):

| state | without a heartbeat | without a report of the main thread |
|---|---|---|
| before and after `listening` | no limit | no limit |
| `listening` | P | P |
| `slow` (large files, callbacks) | 6 P | 6 P |
| `waiting` (inside MPI) | P | no limit, unless all ranks wait for P |
"""

from __future__ import annotations

import atexit
import faulthandler
import math
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from math import inf
from typing import Any

from mpifl.parallel.failure_detector import NO_LIMIT, Limit
from mpifl.parallel.monitor import Activity, Monitor, NoMonitor
from mpifl.parallel.stop_request import StopRequest
from mpifl.parallel.timeouts import TIMEOUTS

_STDERR = 2  # sys.stderr may be no file


class Abandoned(Exception):
    """The current round must be left: a stop was requested, and its grace period is over."""


class Lost(RuntimeError):
    """Another rank has died, has failed, or hangs; the message names it."""


class Heartbeat:
    """The heartbeat of this rank, as its main thread uses it.

    `ranks` is a communicator (an MPI.Intracomm). Until `listening` is entered, signals are not
    handled and no timeout applies. The death of a rank ends the others at any time: `poll` raises
    Lost; where the main thread does not call `poll` in time, the process prints the same message
    and ends with exit code 1. A rank that is alone is watched inside `listening`.
    """

    def __init__(self, ranks: Any) -> None:
        self._ranks = ranks
        self._activity = Activity()
        self._stop_request = StopRequest(tell_others=self._wake_monitor)
        self._patience = 0.0
        self._monitor: Monitor | NoMonitor = NoMonitor()
        if ranks.size > 1:
            monitor = Monitor(ranks, self._activity, self._stop_request)
            self._monitor = monitor
            atexit.register(self._leave, monitor, ranks.Dup())

    @property
    def reason(self) -> str:
        """What requested the stop of the run, such as SIGTERM; empty while nothing has."""
        return self._stop_request.reason

    @contextmanager
    def listening(self, patience: float) -> Iterator[None]:
        """Inside this context, signals request a stop, and hung ranks are noticed.

        `patience` is that of `expect`. A second SIGINT ends the process. Before `playing` is
        entered, the first one does: it raises KeyboardInterrupt.
        """
        with self._stop_request.on_signals(), self._watched_if_alone():
            self.poll()
            self.expect(inf, patience)
            try:
                yield
            finally:
                self._activity.limit = NO_LIMIT

    @contextmanager
    def _watched_if_alone(self) -> Iterator[None]:
        """A monitor for a rank that has no others: the process may go on when the run has ended."""
        if self._ranks.size > 1:
            yield
            return
        monitor = Monitor(self._ranks, self._activity, self._stop_request)
        self._monitor = monitor
        try:
            yield
        finally:
            self._monitor = NoMonitor()
            monitor.stop()
            monitor.join()

    def expect(self, grace: float, patience: float) -> None:
        """Set how long to wait, in seconds.

        A client in training is abandoned `grace` seconds after a stop was requested. A rank that
        does not report for `patience` seconds (0: no limit) prints its stack, and then all ranks
        end; inside `slow`, it may take six times as long.
        """
        self._patience = patience or inf
        self._stop_request.grace = grace
        self._activity.limit = Limit(self._patience, "runtime.patience_minutes")
        self._activity.report()

    @contextmanager
    def playing(self) -> Iterator[None]:
        """The context in which rounds are played."""
        self._stop_request.rounds_began = True
        with self._in_state(slow=False, waiting=False):
            yield

    def slow(self) -> AbstractContextManager[None]:
        """Enter it around reading or writing files, and around what users have written."""
        return self._in_state(slow=True, waiting=self._activity.waiting)

    def waiting(self) -> AbstractContextManager[None]:
        """Enter it around a blocking MPI call: this rank's silence is then no hang."""
        return self._in_state(slow=self._activity.slow, waiting=True)

    @contextmanager
    def _in_state(self, slow: bool, waiting: bool) -> Iterator[None]:
        activity = self._activity
        slow_before = activity.slow
        waiting_before = activity.waiting
        activity.last_report = time.monotonic()
        activity.slow = slow
        activity.waiting = waiting
        try:
            yield
        finally:
            activity.last_report = time.monotonic()
            activity.slow = slow_before
            activity.waiting = waiting_before

    def poll(self) -> None:
        """Report that this rank is at work. Call it often: it takes less than a microsecond.

        Raises Lost if another rank has failed.
        """
        self._activity.report()
        if self._monitor.failure:
            self._monitor.main_thread_knows = True
            raise Lost(self._monitor.failure)

    def check(self, round: int, client: int) -> None:
        """`poll_in_round` during a client's training."""
        self._activity.round = round
        self._activity.client = client
        self.poll_in_round()

    def poll_in_round(self) -> None:
        """`poll` during work that can be left. Raises Abandoned if it must be."""
        self.poll()
        if self._stop_request.grace_is_over(self._activity.last_report):
            raise Abandoned

    def has_time(self, seconds: float) -> bool:
        """Whether work of so many seconds would end within the grace period of a stop."""
        return not self._stop_request.grace_is_over(time.monotonic() + seconds)

    def stop(self, reason: str) -> None:
        """Request a stop of the run, unless something has requested it before."""
        self._stop_request.make(reason)

    def forget_stop(self) -> None:
        """Forget the request to stop, so that this process may begin another run."""
        self._stop_request.forget()

    def fail(self) -> None:
        """Tell the server that this worker has raised an exception; the server tells its workers.

        On a worker it returns when the server has had time to close its files and end all ranks.
        """
        self._monitor.tell_failure()

    def end_others(self) -> None:
        """Tell the other ranks to end, and to print nothing: this one has said what went wrong."""
        self._monitor.end_others()

    def ending(self) -> None:
        """This rank has done its work: from now on, its process is expected to end."""
        longest = max(self._patience, TIMEOUTS.end)
        self._activity.limit = Limit(longest, "at the end of the job")
        self._activity.slow = False
        self._activity.report()

    def _wake_monitor(self) -> None:
        self._monitor.wake()

    def _leave(self, monitor: Monitor, ranks: Any) -> None:
        """At exit: wait for all ranks while the death of one can still be noticed.

        MPI_Finalize waits too, but when Python's threads have ended.
        """
        from mpifl.parallel.mpi import wait_for_all  # starts MPI, which this module does not need

        signal.signal(signal.SIGINT, signal.SIG_DFL)  # KeyboardInterrupt would end the wait below
        self.ending()
        monitor.leave()
        with self.waiting():
            wait_for_all(ranks)
        monitor.stop()
        # What Python and MPI_Finalize still do may hang too. The alarm works without Python.
        faulthandler.dump_traceback_later(TIMEOUTS.end, exit=True, file=_STDERR)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(math.ceil(TIMEOUTS.end + TIMEOUTS.margin))
