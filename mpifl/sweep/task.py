"""`mpifl sweep SWEEP.toml --task N`: one run of a sweep, on all ranks of the job; to do it twice
does no harm.
"""

from __future__ import annotations

from pathlib import Path

from mpifl.parallel.communicator import Communicator
from mpifl.runner import exit_codes, session
from mpifl.sweep import status
from mpifl.terminal import say


def main(path: Path, number: int) -> int:
    """Run the sweep's run of this number, go on with it, or leave it alone if it is done; the exit
    code.
    """
    return exit_codes.on_all_ranks(lambda communicator: _task(communicator, path, number))


def _task(communicator: Communicator, path: Path, number: int) -> int:
    """What rank 0 finds holds for all: a file system may show the others an older state of the
    folder.
    """
    found = communicator.agree(
        lambda: status.find(path, number) if communicator.is_server else None
    )
    cell, done = communicator.bcast(found)
    if not done:
        return session.run(
            communicator, cell.base, cell.assignments, cell.out, resume=True, force=False
        )
    if communicator.is_server:
        say(f"mpifl: {cell.out} is done")
    return 0
