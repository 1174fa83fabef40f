"""`preloaded.py SOCKET`: imports torch once, and forks a rank for each `stand_in.py` that asks.

Most of the time of a short program on some ranks is the import of torch on each of them. A launcher
therefore starts `stand_in.py`, which sends its arguments, environment, working directory and open
files to this process, and a fork of it, which has not started MPI, does what
`python ARGUMENTS` would do with them. The stand-in is told the fork's process id and how it ends.
When a stand-in is killed, so is its fork; when stdin is closed, all are, and this process ends.
A fork whose program has ended well frees no object of Python: that takes a fifth of a second.

Beside SOCKET there is a file PID.rank for each fork that lives: its rank, and its arguments, one a
line.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import marshal
import os
import runpy
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch.utils.flop_counter  # noqa: F401

C = ctypes.PyDLL(None)
C.on_exit(C._exit, None)  # when all libraries loaded from here on have ended: before torch frees

import mpi4py  # noqa: E402, F401
import PIL.Image  # noqa: E402, F401
import rich.table  # noqa: E402, F401

# What most ranks import, as far as it starts no MPI. The environment is that of this process here:
# what depends on it at import, as early_failure.py does, needs ranks that start afresh.
import mpifl.cli  # noqa: E402
import mpifl.data.digits  # noqa: E402
import mpifl.runner.build  # noqa: E402
import mpifl.store.reseal  # noqa: E402
import mpifl.training.flops  # noqa: E402
import mpifl.training.measures  # noqa: E402, F401

os.fsync = lambda descriptor: None  # as in conftest.py

RANKS = (b"PMI_RANK", b"OMPI_COMM_WORLD_RANK")
SAFE = 200
"""a file number above those that launchers give"""
LARGEST = 1 << 22
"""bytes of a request"""


class Request(NamedTuple):
    """What a stand-in was started with."""

    arguments: list[str]
    environment: dict[bytes, bytes]
    folder: str
    numbers: list[int]
    """of its open files"""
    files: list[int]
    """the same files, open here"""


class Fork(NamedTuple):
    """A running rank."""

    process: int
    ended: int
    """a file that can be read when it has ended"""
    stand_in: socket.socket


def request_for_me(path: Path) -> Request:
    """Serve until stdin is closed; returns in forks only."""
    forks: list[Fork] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(100)
        while True:
            files = [sys.stdin.fileno(), listener.fileno()]
            for fork in forks:
                files += [fork.ended, fork.stand_in.fileno()]
            ready, _, _ = select.select(files, [], [])
            if sys.stdin.fileno() in ready:
                break
            for fork in list(forks):
                if fork.ended in ready:
                    forks.remove(fork)
                    bury(fork, path.parent)
                elif fork.stand_in.fileno() in ready:
                    os.kill(fork.process, signal.SIGKILL)
            if listener.fileno() in ready:
                stand_in, _ = listener.accept()
                request = receive(stand_in)
                process = os.fork()
                if process == 0:
                    write_note(path.parent, request)
                    for fork in forks:
                        os.close(fork.ended)
                        fork.stand_in.close()
                    stand_in.close()
                    return request
                for file in request.files:
                    os.close(file)
                stand_in.sendall(b"%d\n" % process)
                forks.append(Fork(process, os.pidfd_open(process), stand_in))
    for fork in forks:
        os.kill(fork.process, signal.SIGKILL)
    os._exit(0)


def receive(stand_in: socket.socket) -> Request:
    data, files, _, _ = socket.recv_fds(stand_in, 4, 250)
    size = int.from_bytes(data, "little")
    assert size < LARGEST
    with stand_in.makefile("rb") as stream:
        arguments, environment, folder, numbers = marshal.loads(stream.read(size))
    return Request(arguments, environment, folder, numbers, files)


def bury(fork: Fork, folder: Path) -> None:
    """Tell a stand-in how its fork has ended."""
    _, status = os.waitpid(fork.process, 0)
    (folder / f"{fork.process}.rank").unlink(missing_ok=True)
    with suppress(OSError):  # it may have been killed
        fork.stand_in.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os.close(fork.ended)
    fork.stand_in.close()


def write_note(folder: Path, request: Request) -> None:
    ranks = [request.environment[name] for name in RANKS if name in request.environment]
    rank = ranks[0].decode() if ranks else ""
    partial = folder / f"{os.getpid()}.partial"
    partial.write_text("\n".join([rank, *request.arguments]))
    partial.rename(folder / f"{os.getpid()}.rank")


def become(request: Request) -> None:
    """Give this process the stand-in's files, working directory and environment."""
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, SAFE) for file in request.files]
    for file in request.files:
        os.close(file)
    for file, number in zip(moved, request.numbers, strict=True):
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.chdir(request.folder)
    os.environb.clear()
    os.environb.update(request.environment)


def forget_mpifl() -> None:
    """Let each fork import all of mpifl itself: mpifl.parallel reads environment variables."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "mpifl":
            del sys.modules[name]


def run(arguments: list[str]) -> None:
    """What `python ARGUMENTS` does."""
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")


def run_and_end(arguments: list[str]) -> None:
    """What `python ARGUMENTS` does, and end as it does: at once if all went well.

    Any other end, such as that by an exception, is left to Python.
    """
    try:
        run(arguments)
        code = 0
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        code = ended.code or 0
    end(code)


def end(code: int) -> None:
    """End this process as Python does, but free none of its objects: one after the other, what
    threads, functions registered at exit, MPI and libraries have to do.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if "mpi4py.MPI" in sys.modules:
        finalize(sys.modules["mpi4py.MPI"])
    C.fflush(None)
    C.exit(code)


def finalize(mpi: ModuleType) -> None:
    """As mpi4py does when Python has ended: from then on a signal does what it does to programs
    without Python.
    """
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    if mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.Finalize()


if __name__ == "__main__":
    assert "mpi4py.MPI" not in sys.modules
    if "mpifl.parallel" in sys.modules:
        forget_mpifl()
    gc.freeze()
    request = request_for_me(Path(sys.argv[1]))
    become(request)
    run_and_end(request.arguments)
