"""A user's script that fails on one rank before MPI has started ends all ranks; import this for it.

MPICH's mpirun takes no notice of a rank that exits by itself before MPI has started: the others
would wait for it when they start MPI. It does notice a rank that a signal kills.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import TracebackType
from typing import NoReturn

_previous_excepthook = sys.excepthook
_previous_exit = sys.exit
_exit_codes: list[object] = []
"""of the calls of sys.exit so far: an exception that Python does not show to any hook"""


def _print_and_die(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _previous_excepthook(kind, error, trace)
    _die()


def _note_and_exit(code: object = None) -> NoReturn:
    _exit_codes.append(code)
    _previous_exit(code)  # type: ignore[arg-type]  # anything may be given to it


def _die_unless_well() -> None:
    """As the process ends: die where the script's last sys.exit said that it has failed."""
    if "mpifl.cli" in sys.modules:  # a command, which fails with its own exit code on all ranks
        return
    if _exit_codes and _exit_codes[-1] not in (None, 0):
        _die()


def _die() -> None:
    """End this process by a signal, unless MPI, which ends all ranks itself, has been started."""
    if "mpifl.parallel.mpi" in sys.modules:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGTERM)


sys.excepthook = _print_and_die
sys.exit = _note_and_exit  # type: ignore[assignment]
atexit.register(_die_unless_well)
