"""An exception in a user's script before MPI has started ends all ranks; import this for it.

MPICH's mpirun takes no notice of a rank that exits by itself before MPI has started: the others
would wait for it when they start MPI. It does notice a rank that a signal kills.
"""

from __future__ import annotations

import os
import signal
import sys
from types import TracebackType

_previous_excepthook = sys.excepthook


def _print_and_die(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _previous_excepthook(kind, error, trace)
    if "mpifl.parallel.mpi" in sys.modules:  # which ends all ranks itself
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGTERM)


sys.excepthook = _print_and_die
