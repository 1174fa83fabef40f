"""Pulse: signs of life between the server and its workers, and the wish to stop, beside the collectives.

Each second a thread of every worker tells the server where it is and for how long its main thread has been silent, and
the server tells the workers. So a rank that hangs or dies is named, wherever the others wait; a signal to one rank
reaches all; and the server hears of a worker's exception.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from struct import Struct
from typing import Any, NamedTuple

from mpifl.lines import Lines
from mpifl.tables import say

_BEAT = 1.0  # seconds between messages
_HEED = 1.5  # seconds for the main thread to end this rank itself, with all that it can still put in order
_MESSAGE = Struct("!Bqqd")  # kind, round, client, seconds of silence
_ALIVE, _STOP, _FAILED, _BYE = range(4)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Abandoned(Exception):
    """The round under way is to be left: a stop was asked for, and the grace after it is over."""


class Lost(RuntimeError):
    """Another rank has died, has failed, or was silent for too long; the message names it."""


class _Sign(NamedTuple):
    """What was last heard of a rank, and when; the silence is its main thread's, below 0 while it waits inside MPI."""

    time: float
    round: int
    client: int
    silence: float

    @property
    def place(self) -> str:
        return f", last seen in round {self.round} with client {self.client}" if self.client >= 0 else ""


class Pulse:
    """This rank's part of it, for the ranks of a communicator (an MPI.Intracomm).

    Deaf to signals and patient for ever until `listening`. A death ends the others at any time: `poll` raises Lost, and
    where the main thread does not come to that, the process ends with the line that Lost would have had, and code 1.
    """

    def __init__(self, ranks: Any) -> None:
        self._rank, self._size = ranks.rank, ranks.size
        self._lines = Lines(ranks, _MESSAGE.size) if ranks.size > 1 else None
        self._signs: dict[int, _Sign] = {}
        self._seen, self._where, self._waits = time.monotonic(), (0, -1), False
        self._grace, self._patience = inf, inf
        self._asked = inf
        self._failed = self._released = self._shown = False
        self._lost = ""
        self.reason = ""
        """what asked for the stop; empty if nothing did"""
        self.playing = False
        """whether the first round has begun"""
        if self._lines:
            threading.Thread(target=self._watch, daemon=True).start()
            atexit.register(self._release)

    @contextmanager
    def listening(self, patience: float) -> Iterator[None]:
        """Take signals as a wish to stop, and watch the others, with `patience` as in `expect`.

        A second SIGINT ends the process; until `playing`, the first does, as KeyboardInterrupt.
        """
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        self.poll()
        self.expect(inf, patience)
        try:
            yield
        finally:
            self._patience = inf
            for number, handler in before.items():
                signal.signal(number, handler)

    def expect(self, grace: float, patience: float) -> None:
        """A client in training is left `grace` seconds after a signal.

        A rank that is silent for `patience` seconds (0: for ever) prints where it hangs, and then all ranks end.
        """
        self._grace, self._patience = grace, patience or inf

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While inside MPI, at the mercy of others: silent, but blameless."""
        self._seen, self._waits = time.monotonic(), True
        try:
            yield
        finally:
            self._seen, self._waits = time.monotonic(), False

    def poll(self) -> None:
        """Give a sign of life; raises Lost. To be called often: it costs a fraction of a microsecond."""
        if not self._waits:
            self._seen = time.monotonic()
        if self._lost:
            raise Lost(self._lost)

    def check(self, round: int, client: int) -> None:
        """`poll` in the midst of a client's training; raises Abandoned if it must be left."""
        self._where = (round, client)
        self.poll()
        if self._seen > self._asked + self._grace:
            raise Abandoned

    def fail(self) -> None:
        """Tell the server that this worker has failed, and give it the time to put that down and end all ranks."""
        if self._rank:
            self._failed = True
            self._lines.wake()
            time.sleep(2.0)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT:
            if not self.playing:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
        self._asked = min(self._asked, time.monotonic())
        self.reason = signal.Signals(number).name  # be it that another rank has told of it before
        if self._lines:
            self._lines.wake()

    def _release(self) -> None:
        """This rank has done its part, and is about to end."""
        self._released = True
        self._lines.send(_MESSAGE.pack(_BYE, 0, -1, 0.0))

    def _watch(self) -> None:
        """The thread: listens and tells, until it has to end the process."""
        looked, due, told = time.monotonic(), 0.0, _ALIVE
        while not self._lost:
            for rank, message in self._lines.wait(_BEAT):
                self._hear(rank, message)
            now = time.monotonic()
            if now - looked > _BEAT + self._patience / 2:  # it was this process that slept
                self._seen = now
                self._signs = {rank: sign._replace(time=now) for rank, sign in self._signs.items()}
            looked, kind = now, _FAILED if self._failed else _STOP if self.reason else _ALIVE
            if now >= due or kind != told:
                due, told = now + _BEAT, kind
                silence = self._seen - now if self._waits else now - self._seen
                self._signs[self._rank] = _Sign(now, *self._where, silence)
                self._lines.send(_MESSAGE.pack(kind, *self._where, silence))
                self._judge(now)
        time.sleep(_HEED)
        if not self._released:
            say(f"mpifl: rank {self._rank}: {self._lost}", error=True)
            os._exit(1)

    def _hear(self, rank: int, message: bytes) -> None:
        name = f"rank {rank} on {self._lines.hosts[rank]}"
        if not message:
            self._lost = "" if self._released else f"{name} has died, or was killed{self._place(rank)}"
            return
        kind, *sign = _MESSAGE.unpack(message)
        self._signs[rank] = _Sign(time.monotonic(), *sign)
        if kind == _BYE:
            self._lines.drop(rank)
            del self._signs[rank]
        elif kind == _FAILED:
            self._lost = f"{name} failed{self._place(rank)}; its traceback says how"
        elif kind == _STOP and not self.reason:
            self.reason, self._asked = f"a signal to rank {rank}", time.monotonic()

    def _judge(self, now: float) -> None:
        """Whether a rank was silent for too long; this one among them."""
        limit = self._patience * (1.25 if self._rank else 1.0)  # the server first: it has the run's folder to close
        silences = {rank: now - sign.time + max(0.0, sign.silence) for rank, sign in self._signs.items()}
        worst = max(silences, key=silences.__getitem__)
        if worst == self._rank and silences[worst] > 0.9 * limit and not self._shown:
            self._shown = True
            faulthandler.dump_traceback(file=2)  # sys.stderr may be no file
        if silences[worst] > limit:
            self._lost = (
                f"rank {worst} on {self._lines.hosts[worst]} gave no sign of life for {silences[worst]:.0f} s"
                f"{self._place(worst)} (runtime.patience_minutes)"
            )
        elif len(self._signs) == self._size and all(sign.silence < -limit for sign in self._signs.values()):
            self._lost = f"all ranks wait inside MPI, each for more than {limit:.0f} s (runtime.patience_minutes)"

    def _place(self, rank: int) -> str:
        return self._signs[rank].place if rank in self._signs else ""
