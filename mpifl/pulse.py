"""Pulse: signs of life between the server and its workers, and the wish to stop, beside the collectives.

Every few seconds each worker tells the server where it is, and the server tells the workers that it lives. So a rank
that falls silent can be named, a signal to one rank reaches all, and the server hears of a worker's exception. Ranks of
one node see each other die, for Slurm's srun gives the others half a minute then.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

_LOOK, _BEAT = 0.1, 1.0  # seconds between looks for messages, and between messages
_ALIVE, _STOP, _FAILED = range(3)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Abandoned(Exception):
    """The round under way is to be left: a stop was asked for, and the grace after it is over."""


class Lost(RuntimeError):
    """Another rank has failed, or was silent for too long; the message names it."""


class Pulse:
    """This rank's part of it, on a communicator of its own (`bell`, an MPI.Intracomm).

    Deaf to signals until `listening`, silent until `watching`.
    """

    def __init__(self, bell: Any) -> None:
        self._bell = bell
        self._peers = list(range(1, bell.size)) if bell.rank == 0 else [0]
        places = bell.allgather((socket.gethostname(), os.readlink("/proc/self/ns/pid"), os.getpid()))
        self._hosts = [host for host, _, _ in places]
        self._neighbours = {rank: pid for rank, (*node, pid) in enumerate(places) if node == [*places[bell.rank][:2]]}
        self._sent: list[tuple[Any, np.ndarray]] = []
        self._where = (0, -1)
        self._heard: dict[int, tuple] = {}
        self._grace, self._patience = inf, inf
        self._asked = inf
        self._next_look = self._next_beat = inf
        self._watched = False
        self.reason = ""
        """what asked for the stop; empty if nothing did"""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGUSR1 as a wish to stop, and SIGINT from `watching` on; a second one ends the process."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def watching(self, grace: float, patience: float) -> Iterator[None]:
        """Watch the others; both times in seconds.

        A client in training is left `grace` after a signal. A rank that is silent for `patience` (0: for ever) makes
        `poll` raise Lost, and prints where it hangs.
        """
        now = time.monotonic()
        self._grace, self._patience = grace, patience or inf
        self._heard = dict.fromkeys(self._peers, (now, 0, -1))
        self._looked, self._next_look, self._next_beat, self._watched = now, now, now, True
        try:
            yield
        finally:
            self._next_look = inf
            faulthandler.cancel_dump_traceback_later()

    def poll(self, waiting: bool = False) -> None:
        """Look and tell, if it is time; raises Lost. To be called often: at most a comparison, nearly always.

        While `waiting` for all ranks, none may be dead.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        if now - self._looked > self._patience / 2:  # it was this rank that slept
            self._heard = {peer: (now, *where) for peer, (_, *where) in self._heard.items()}
        self._looked, self._next_look = now, now + _LOOK
        self._listen(now)
        if waiting:
            self._refuse_death()
        if now >= self._next_beat:
            self._beat(_STOP if self.reason else _ALIVE)
            self._next_beat = now + _BEAT
            if self._patience < inf:
                faulthandler.dump_traceback_later(0.95 * self._patience, file=2)  # sys.stderr may be no file
        self._refuse_silence(now)

    def check(self, round: int, client: int) -> None:
        """`poll` in the midst of a client's training; raises Abandoned if it must be left."""
        self._where = (round, client)
        self.poll()
        if time.monotonic() > self._asked + self._grace:
            raise Abandoned

    def fail(self) -> None:
        """Tell the server that this worker has failed, and give it the time to put that down and end all ranks."""
        if self._bell.rank and self._heard:  # the server listens, since it watches
            self._beat(_FAILED)
            time.sleep(2.0)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT:
            if not self._watched:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
        self._ask(signal.Signals(number).name)

    def _ask(self, reason: str) -> None:
        if not self.reason:
            self.reason, self._asked = reason, time.monotonic()
            if self._next_look < inf:
                self._next_look = self._next_beat = 0.0

    def _beat(self, kind: int) -> None:
        content = np.array([kind, self._bell.rank, *self._where], dtype=np.int64)
        self._sent = [(request, kept) for request, kept in self._sent if not request.Test()]
        self._sent += [(self._bell.Isend(content, peer), content) for peer in self._peers]

    def _listen(self, now: float) -> None:
        content = np.empty(4, dtype=np.int64)
        while message := self._bell.Improbe():  # Iprobe and Recv hang between hosts: MPICH with UCX
            message.Recv(content)
            kind, rank, *where = content.tolist()
            self._heard[rank] = (now, *where)
            if kind == _FAILED:
                raise Lost(f"rank {rank} on {self._hosts[rank]} failed{_at(*where)}; its traceback says how")
            if kind == _STOP:
                self._ask(f"a signal to rank {rank}")

    def _refuse_death(self) -> None:
        for rank, pid in self._neighbours.items():
            if _dead(pid):
                where = _at(*self._heard[rank][1:]) if rank in self._heard else ""
                raise Lost(f"rank {rank} on {self._hosts[rank]} has died, or was killed{where}")

    def _refuse_silence(self, now: float) -> None:
        # The server speaks first: it knows more, and has the run's folder to close.
        limit = self._patience * (1.0 if self._bell.rank == 0 else 1.25)
        for rank, (last, *where) in self._heard.items():
            if now - last > limit:
                raise Lost(
                    f"rank {rank} on {self._hosts[rank]} gave no sign of life for {now - last:.0f} s"
                    f"{_at(*where)} (runtime.patience_minutes)"
                )


def _dead(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked yet how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def _at(round: int, client: int) -> str:
    return f", last seen in round {round} with client {client}" if client >= 0 else ""
