"""`failing_ranks.py FOLDER RANK.HOW...`: for each case a job of three ranks, of which one fails.

All jobs run at once, in processes forked from this one, without MPI. In FOLDER/RANK.HOW, `N.stderr`
is what rank N prints and `N.code` its exit code, written when it has ended. HOW is

killed, by SIGKILL; gone, by os._exit(0); stopped, by SIGSTOP;
hangs: the rank sleeps; holds: it sleeps and lets no Python thread run;
waits: it waits inside MPI, as all ranks do;
raises: it tells the others of an exception, and ends;
leaves: it has done its work while the others wait for it inside MPI;
late: it is killed when the others have done their work;
unhurried: it does its work when the others have waited at their end for longer than the timeouts;
lingers: it hangs when all have done their work, before it is at its end;
last: it is killed at its end, when all ranks are there;
stays: it hangs when all ranks have been at their ends; mute: so, and its stack cannot be printed.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mpifl.parallel.heartbeat import Heartbeat
from mpifl.parallel.monitor import Monitor

SIZE = 3
PATIENCE = 2.0
FOREVER = 600.0
BEATS = 3
"""after which this rank's round and client have surely been sent"""


class Ranks:
    """What a Heartbeat uses of an MPI.Intracomm: through files."""

    size = SIZE

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder = folder
        self.rank = rank

    def Dup(self) -> Ranks:
        return self

    def allgather(self, own: Any) -> list[Any]:
        partial = self.folder / f"{self.rank}.partial"
        partial.write_bytes(pickle.dumps(own))
        partial.rename(self.folder / f"{self.rank}.gathered")
        files = [self.folder / f"{rank}.gathered" for rank in range(SIZE)]
        wait_for(files)
        return [pickle.loads(path.read_bytes()) for path in files]

    def are_connected(self) -> None:
        """Wait until each rank has its connections, which workers get from the server."""
        (self.folder / f"{self.rank}.connected").touch()
        wait_for([self.folder / f"{rank}.connected" for rank in range(SIZE)])

    def wait_for_all(self) -> None:
        if (self.rank, how_of(self.folder)) == (failing_rank_of(self.folder), "last"):
            while not self.others_wait():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"{self.rank}.arrived").touch()
        wait_for([self.folder / f"{rank}.arrived" for rank in range(SIZE)])

    def others_wait(self) -> bool:
        """Whether all others wait at their end."""
        others = [rank for rank in range(SIZE) if rank != self.rank]
        return all((self.folder / f"{rank}.arrived").exists() for rank in others)


def wait_for(files: list[Path]) -> None:
    while not all(path.exists() for path in files):
        time.sleep(0.01)


class Beats:
    """Counts the heartbeats that this process sends."""

    def __init__(self) -> None:
        self._sent = threading.Semaphore(0)
        send = Monitor._send

        def counted(*arguments: Any) -> Any:
            report = send(*arguments)
            self._sent.release()
            return report

        Monitor._send = counted  # type: ignore[method-assign]

    def wait_for_more(self) -> None:
        while self._sent.acquire(blocking=False):
            continue
        for _ in range(BEATS):
            self._sent.acquire()


def failing_rank_of(folder: Path) -> int:
    return int(folder.name.partition(".")[0])


def how_of(folder: Path) -> str:
    return folder.name.partition(".")[2]


def play(folder: Path, rank: int) -> None:
    """What one rank does; returns when it has done its work."""
    how = how_of(folder)
    fails = rank == failing_rank_of(folder)
    os.dup2(os.open(folder / f"{rank}.stderr", os.O_CREAT | os.O_WRONLY), 2)
    if fails and how in ("stays", "mute"):
        atexit.register(hang, mute=how == "mute")
    ranks = Ranks(folder, rank)
    beats = Beats()
    heartbeat = Heartbeat(ranks)
    ranks.are_connected()
    with heartbeat.listening(PATIENCE), heartbeat.playing():
        heartbeat.check(7, 100 + rank)
        beats.wait_for_more()
        if fails:
            fail(how, heartbeat, ranks)
        elif how not in ("late", "unhurried", "lingers", "last", "stays", "mute"):
            with heartbeat.waiting():
                time.sleep(FOREVER)
    heartbeat.ending()
    if fails and how == "lingers":
        hang()


def fail(how: str, heartbeat: Heartbeat, ranks: Ranks) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif how == "gone":
        os._exit(0)
    elif how == "hangs":
        hang()
    elif how == "holds":
        ctypes.PyDLL(None).sleep(int(FOREVER))
    elif how == "waits":
        with heartbeat.waiting():
            time.sleep(FOREVER)
    elif how == "raises":
        heartbeat.fail()
        os._exit(1)
    elif how == "late":
        while not ranks.others_wait():
            time.sleep(0.1)
            heartbeat.poll()
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "unhurried":
        for _ in range(50):
            time.sleep(0.1)
            heartbeat.poll()


def hang(mute: bool = False) -> None:
    if mute:
        faulthandler.cancel_dump_traceback_later()
    time.sleep(FOREVER)


def main() -> None:
    processes = {}
    for case in sys.argv[2:]:
        folder = Path(sys.argv[1]) / case
        folder.mkdir()
        for rank in range(SIZE):
            process = os.fork()
            if process == 0:
                play(folder, rank)
                return
            processes[process] = folder / f"{rank}.code"
    while processes:
        process, status = os.wait()
        path = processes.pop(process)
        path.with_suffix(".partial").write_text(str(os.waitstatus_to_exitcode(status)))
        path.with_suffix(".partial").rename(path)


if __name__ == "__main__":
    # in the place of a module that starts MPI
    sys.modules["mpifl.parallel.mpi"] = SimpleNamespace(wait_for_all=Ranks.wait_for_all)
    main()
