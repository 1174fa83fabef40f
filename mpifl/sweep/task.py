"""`mpifl sweep SWEEP.toml --task N` and `--all`: runs of a sweep, on all ranks of the job.

The same task may run again: it resumes the run, or finds it done.
"""

from __future__ import annotations

from pathlib import Path

from mpifl.parallel.communicator import Communicator
from mpifl.runner import exit_codes, session
from mpifl.sweep import status
from mpifl.terminal import say
from mpifl.training.rounds import RunFailed


def main(path: Path, number: int) -> int:
    """Start or resume the sweep's run of this number, or leave it if it is done; the exit code."""
    return exit_codes.on_all_ranks(lambda communicator: _task(communicator, path, number))


def all_in_turn(path: Path) -> int:
    """As `main` for each run of the sweep; the exit code.

    A run that diverges is told, and the next one begins. A run that is stopped is the last one.
    """
    return exit_codes.on_all_ranks(lambda communicator: _all(communicator, path))


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
    return exit_codes.DONE


def _all(communicator: Communicator, path: Path) -> int:
    found = communicator.agree(lambda: status.count(path) if communicator.is_server else None)
    code = exit_codes.DONE
    for number in range(communicator.bcast(found)):
        try:
            own = _task(communicator, path, number)
        except RunFailed as error:
            code = exit_codes.DIVERGED
            if communicator.is_server:
                say(f"mpifl: task {number}: {error}", error=True)
            continue
        is_stopped = communicator.bcast(own) == exit_codes.STOPPED
        if is_stopped:
            return own
    return code
