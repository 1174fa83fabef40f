"""Pulse: signs of life between the server and its workers, and the wish to stop, beside the
collectives.

Each second a thread of every worker tells the server where it is and for how long its main thread
has been silent, and the server tells the workers. So a rank that hangs or dies is named, wherever
the others wait; a signal to one rank reaches all; and the server hears of a worker's exception.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from math import inf
from struct import Struct
from typing import Any

from mpifl.parallel.failure_detector import Sign, Signs
from mpifl.parallel.heartbeat_tcp import Lines
from mpifl.terminal import say

_BEAT = 1.0  # seconds between messages
_HEED = 1.5  # seconds for the main thread to hear that it is to end this rank
_CLOSE = 2.0  # seconds more, once it has heard, to put in order what it can
_SLOWLY = 6.0  # times the patience, for reading and writing files
_MESSAGE = Struct("!Bqqdd")  # kind; and what a Sign holds after its time
_ALIVE, _STOP, _FAILED, _BYE, _ENDS = range(5)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Abandoned(Exception):
    """The round under way is to be left: a stop was asked for, and the grace after it is over."""


class Lost(RuntimeError):
    """Another rank has died, has failed, or was silent for too long; the message names it."""


class Heartbeat:
    """This rank's part of it, for the ranks of a communicator (an MPI.Intracomm).

    Deaf to signals and patient for ever until `listening`. A death ends the others at any time:
    `poll` raises Lost, and where the main thread does not come to that, the process ends with the
    line that Lost would have had, and code 1.
    """

    def __init__(self, ranks: Any) -> None:
        self._rank = ranks.rank
        self._lines = Lines(ranks, _MESSAGE.size) if ranks.size > 1 else None
        self._signs = (
            Signs(self._rank, self._lines.hosts, time.monotonic()) if self._lines else None
        )
        self._seen, self._where, self._waits = time.monotonic(), (0, -1), False
        self._grace, self._patience = inf, inf
        self._asked = inf
        self._slow, self._begun = True, False
        self._failed = self._released = self._shown = self._raised = False
        self._lost: str | None = None
        self.reason = ""
        """what asked for the stop; empty if nothing did"""
        if self._lines:
            threading.Thread(target=self._watch, daemon=True).start()
            atexit.register(self._release)

    @contextmanager
    def listening(self, patience: float) -> Iterator[None]:
        """Take signals as a wish to stop, and watch the others, with `patience` as in `expect`.

        A second SIGINT ends the process; until it is `playing`, the first does, as
        KeyboardInterrupt.
        """
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        self.poll()
        self.expect(inf, patience)
        try:
            yield
        finally:
            self._patience = inf
            for number, handler in before.items():
                # a warning may come again while all is put away
                if number == signal.SIGINT or not self.reason:
                    signal.signal(number, handler)

    def expect(self, grace: float, patience: float) -> None:
        """A client in training is left `grace` seconds after a signal.

        A rank that is silent for `patience` seconds (0: for ever) prints where it hangs, and then
        all ranks end. Its main thread may be silent for longer until it is `playing`, and while it
        is `slow`.
        """
        self._grace, self._patience = grace, patience or inf

    @contextmanager
    def playing(self) -> Iterator[None]:
        """While rounds are played."""
        self._begun = True
        with self._paced(slow=False):
            yield

    def slow(self) -> AbstractContextManager[None]:
        """While reading or writing what may be large."""
        return self._paced(slow=True)

    @contextmanager
    def _paced(self, slow: bool) -> Iterator[None]:
        before = self._slow
        self._seen, self._slow = time.monotonic(), slow
        try:
            yield
        finally:
            self._seen, self._slow = time.monotonic(), before

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While inside MPI, at the mercy of others: silent, but blameless."""
        before = self._waits
        self._seen, self._waits = time.monotonic(), True
        try:
            yield
        finally:
            self._seen, self._waits = time.monotonic(), before

    def poll(self) -> None:
        """Give a sign of life; raises Lost. To be called often: it costs a fraction of a
        microsecond.
        """
        if not self._waits:
            self._seen = time.monotonic()
        if self._lost is not None:
            self._raised = True
            raise Lost(self._lost)

    def check(self, round: int, client: int) -> None:
        """`poll` in the midst of a client's training; raises Abandoned if it must be left."""
        self._where = (round, client)
        self.poll()
        if self._seen > self._asked + self._grace:
            raise Abandoned

    def stop(self, reason: str) -> None:
        """Wish to stop, unless something has asked for it before."""
        if not self.reason:
            self.reason, self._asked = reason, time.monotonic()

    def fail(self) -> None:
        """Tell the server that this worker has failed, and give it the time to put that down and
        end all ranks.
        """
        if self._rank:
            self._failed = True
            self._lines.wake()
            time.sleep(2.0)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT:
            if not self._begun:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
        self._asked = min(self._asked, time.monotonic())
        self.reason = signal.Signals(number).name  # be it that another rank has told of it before
        if self._lines:
            self._lines.wake()

    def _release(self) -> None:
        """This rank has done its part, and is about to end."""
        self._released = True
        self._lines.send(self._message(_BYE))

    def _watch(self) -> None:
        """The thread: listens and tells, until it has to end the process."""
        try:
            self._listen()
        except Exception:
            traceback.print_exc()
            self._lost = "its thread for signs of life has failed"
        with open(os.devnull, "w") as nowhere:
            # if nobody reads what is said
            faulthandler.dump_traceback_later(2 * _CLOSE, exit=True, file=nowhere)
            if self._rank == 0:
                self._lines.send(self._message(_ENDS))
            time.sleep(_HEED)
            if self._raised or self._lost is None:
                time.sleep(_CLOSE)
            if self._lost is not None and not self._released:
                say(f"mpifl: rank {self._rank}: {self._lost}", error=True)
            os._exit(1)

    def _listen(self) -> None:
        """Until there is something to tell in `_lost`, or the server has told it."""
        looked, due, told = time.monotonic(), 0.0, _ALIVE
        while self._lost is None:
            for rank, message in self._lines.wait(_BEAT):
                if self._hear(rank, message) == _ENDS:
                    return
            now = time.monotonic()
            if now - looked > _BEAT + self._patience / 2:  # it was this process that slept
                self._seen = now
                self._signs.forgive(now)
            looked, kind = now, _FAILED if self._failed else _STOP if self.reason else _ALIVE
            if now >= due or kind != told:
                due, told = now + _BEAT, kind
                self._lines.send(self._message(kind))
                self._judge(now)

    def _hear(self, rank: int, message: bytes) -> int:
        """The kind of message that it was."""
        if not message:
            if not self._signs.has_left(rank):
                self._lost = (
                    f"{self._signs.name(rank)} has died, or was killed{self._signs.place(rank)}"
                )
            return _BYE
        now, (kind, *sign) = time.monotonic(), _MESSAGE.unpack(message)
        if kind == _BYE:
            self._signs.left(rank, now)
        else:
            self._signs.note(rank, Sign(now, *sign))
        if kind == _FAILED:
            self._lost = (
                f"{self._signs.name(rank)} failed{self._signs.place(rank)}; its traceback says how"
            )
        elif kind == _STOP:
            self.stop(f"a signal to rank {rank}")
        return kind

    def _message(self, kind: int) -> bytes:
        return _MESSAGE.pack(kind, *self._own()[1:])

    def _own(self) -> Sign:
        now = time.monotonic()
        silence = self._seen - now if self._waits else now - self._seen
        return Sign(now, *self._where, silence, self._patience * (_SLOWLY if self._slow else 1.0))

    def _judge(self, now: float) -> None:
        more = 1.25 if self._rank else 1.0  # the server first: it has the run's folder to close
        self._signs.note(self._rank, own := self._own())
        if own.silence > 0.9 * more * own.allowed and not self._shown:
            self._shown = True
            faulthandler.dump_traceback(file=2)  # sys.stderr may be no file
        if wrong := self._signs.judge(now, self._patience, more, self._lines.missing):
            self._lost = wrong
