"""Runs that a signal stops while a test is under way, which is then abandoned."""

from __future__ import annotations

import io
import signal
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from mpifl.parallel.communicator import Communicator
from mpifl.parallel.mpi import MPI
from mpifl.runner import session
from mpifl.training import evaluator
from mpifl.training.evaluate import Tester

FOREVER = 60.0


class Case(NamedTuple):
    """Who gets a signal in which of its tests."""

    rank: int
    test: int
    options: tuple[str, ...]


SERVER = "evaluation.where=server"
ALL = "evaluation.where=all"
CASES = {
    "server": Case(0, 3, (SERVER,)),
    "dealt": Case(0, 3, ()),
    "dealt_after_the_last_round": Case(0, 6, ()),
    "shared": Case(1, 3, (ALL,)),
    "shared_before_a_checkpoint": Case(1, 3, (ALL, "results.checkpoint_rounds=1")),
    "shared_after_the_last_round": Case(1, 6, (ALL,)),
}


def run_all(communicator: Communicator, config: Path, folder: Path) -> list[int]:
    """Run each case into `folder`/NAME, on all ranks; the exit codes of this rank."""
    return [_run(communicator, config, folder / name, case) for name, case in CASES.items()]


def _in_turn(batches: int, loads: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """A share of each test for each rank, however quick the ranks have been so far."""
    return np.sort(np.arange(batches) % len(loads))[::-1]


def _run(communicator: Communicator, config: Path, out: Path, case: Case) -> int:
    own = Communicator(MPI.Intracomm(communicator))  # one that was stopped stays so
    tests = iter(range(1, 1000))
    rows = Tester.loaded_rows

    def rows_until_left(self, *more):
        if own.rank == case.rank and next(tests) == case.test:
            signal.raise_signal(signal.SIGUSR1)
            until = time.monotonic() + FOREVER
            while time.monotonic() < until:
                self.alive()
        return rows(self, *more)

    target = session.Target(out)
    with (
        patch.object(Tester, "loaded_rows", rows_until_left),
        patch.object(evaluator, "deal", _in_turn),
        redirect_stdout(io.StringIO()),
    ):
        return session.run(own, str(config), case.options, target)
