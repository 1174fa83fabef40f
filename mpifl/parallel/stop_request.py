"""The request to stop a run after the current round, made by signals."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Whether the run is to stop, since when, and why.

    `tell_others` is called when a signal to this process has made the request.
    """

    def __init__(self, tell_others: Callable[[], None]) -> None:
        self.reason = ""
        """what requested the stop; empty while nothing has"""
        self.grace = inf
        """seconds after the request for which a client may continue to train"""
        self.rounds_began = False
        """whether a first SIGINT makes the request; before, it raises KeyboardInterrupt"""
        self._time = inf
        self._tell_others = tell_others

    def make(self, reason: str) -> None:
        """Request a stop, unless there is a request already."""
        if not self.reason:
            self.reason = reason
            self._time = time.monotonic()

    def forget(self) -> None:
        """Begin anew, for another run of this process."""
        self.reason = ""
        self.rounds_began = False
        self._time = inf

    def grace_is_over(self, now: float) -> bool:
        """Whether a client must leave its training, at a time of `time.monotonic`."""
        return now > self._time + self.grace

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Inside this context, SIGTERM, SIGUSR1 and SIGINT request a stop.

        A second SIGINT ends the process. In another thread than the main one, which alone may
        handle signals, they do what they did before.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                # Schedulers repeat their warning: it must not end a process that is still closing
                # its files.
                if number == signal.SIGINT or not self.reason:
                    signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT:
            if not self.rounds_began:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
        self._time = min(self._time, time.monotonic())
        self.reason = signal.Signals(number).name  # replaces a reason received from another rank
        self._tell_others()
