"""A running MPI job that calls functions for tests: Python and torch start once, not in each test.

A test that needs nothing but ranks gives a function to `Job.call`. What ends or disturbs ranks is
launched by itself (launch.py).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest
from mpi.launch import environment, mpirun, plain

PROGRAM = Path(__file__).parent / "programs" / "serving.py"
RANKS = 5
"""of the job; a function is called on its first ones"""
STARTS = 180.0
"""seconds in which all ranks must have started"""

MPICH, OPENMPI = (pytest.mark.xdist_group(f"job of {mpi}") for mpi in ("mpich", "openmpi"))
"""marks of tests that call functions on a job of this library: one worker of pytest-xdist has it"""


class Job:
    """`RANKS` ranks of an MPI library, which wait for calls until `close`; output goes to `log`."""

    def __init__(self, mpi: str, log: Path) -> None:
        self._log = log
        with socket.create_server(("localhost", 0)) as server, log.open("wb") as output:
            command = [*mpirun(mpi, RANKS), str(PROGRAM), str(server.getsockname()[1])]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(mpi),
                start_new_session=True,
            )
            self._ranks = self._connections(server)

    def call(
        self, ranks: int, function: Callable[..., Any], *arguments: Any, timeout: float = 600
    ) -> list[Any]:
        """Return what `function(communicator, *arguments)` returns on each of so many ranks.

        The function is sent by its name, so it must be one of a module. Where it raises on a rank,
        or does not return in time, the job ends, and the test fails with all that is known.
        """
        called = self._ranks[:ranks]
        for connection in called:
            connection.send((ranks, function, arguments))
        results: dict[Connection, Any] = {}
        while len(results) < ranks:
            ready = wait([one for one in called if one not in results], timeout)
            if not ready:
                self._fail(f"{function.__name__} on {ranks} ranks: not ended after {timeout} s")
            for connection in ready:
                try:
                    worked, result = connection.recv()
                except (EOFError, OSError):
                    self._fail(f"{function.__name__} on {ranks} ranks: a rank has ended")
                if not worked:
                    self._fail(f"{function.__name__} on {ranks} ranks: {result}")
                results[connection] = result
        return [results[connection] for connection in called]

    def close(self) -> None:
        """End all ranks."""
        for connection in self._ranks:
            connection.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._kill()

    def ended(self) -> bool:
        return self._process.poll() is not None

    def _connections(self, server: socket.socket) -> list[Connection]:
        """The connections to all ranks, in their order."""
        deadline = time.monotonic() + STARTS
        server.settimeout(0.1)
        found = {}
        while len(found) < RANKS:
            try:
                accepted, _ = server.accept()
            except TimeoutError:
                if self.ended() or time.monotonic() > deadline:
                    self._fail(f"expected {RANKS} ranks to start; got {len(found)}")
                continue
            accepted.setblocking(True)
            connection = Connection(accepted.detach())
            found[connection.recv()] = connection
        return [found[rank] for rank in range(RANKS)]

    def _fail(self, what: str) -> None:
        self._kill()
        pytest.fail(f"{what}\n{plain(self._log.read_bytes())}")

    def _kill(self) -> None:
        """Open MPI's ranks outlive an mpirun that is killed, so it is asked first."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def on(mpi: str, *values: Any) -> Any:
    """The parameters (mpi, *values) of a test that calls functions on a job of `mpi`."""
    return pytest.param(mpi, *values, marks=MPICH if mpi == "mpich" else OPENMPI)


MPIS = (on("mpich"), on("openmpi"))
