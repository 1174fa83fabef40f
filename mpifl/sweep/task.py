"""`mpifl sweep SWEEP.toml --task N`: one run of a sweep, on all ranks of the job.

The same task may run again: it resumes the run, or finds it done.
"""

from __future__ import annotations

from pathlib import Path

from mpifl.parallel.communicator import Communicator
from mpifl.runner import exit_codes, session
from mpifl.sweep import status
from mpifl.terminal import say


def main(path: Path, number: int) -> int:
    """Start or resume the sweep's run of this number, or leave it if it is done; the exit code."""
    return exit_codes.on_all_ranks(lambda communicator: _task(communicator, path, number))


def _task(communicator: Communicator, path: Path, number: int) -> int:
    # Rank 0 decides for all: other ranks may see an older state of a shared folder.
    found = communicator.agree(
        lambda: status.find(path, number) if communicator.is_server else None
    )
    run, is_done = communicator.bcast(found)
    if not is_done:
        target = session.Target(run.out, resume=True, or_start=True)
        return session.run(communicator, run.base, run.assignments, target)
    if communicator.is_server:
        say(f"mpifl: {run.out} is done")
    return 0
