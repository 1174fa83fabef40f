"""MPI, started; the only importer of mpi4py. To be imported first: from then on, a rank that fails
ends the others.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from types import TracebackType

from mpifl.parallel import launcher

# else Open MPI's wheel complains of itself on every shared window
os.environ.setdefault("OMPI_MCA_osc", "^ucx")

with launcher.starting():
    from mpi4py import MPI

_NAP = 1e-3  # seconds
# seconds for launchers to pass on what a rank has said: Hydra may drop it once ranks are ended
_LAST_WORDS = 0.5


def begin() -> int:
    """How many ranks there are; starts MPI, where MPI4PY_RC_INITIALIZE=0 put that off."""
    if not MPI.Is_initialized():
        with launcher.starting():
            MPI.Init_thread(MPI.THREAD_MULTIPLE)
    return MPI.COMM_WORLD.size


def stop_all(code: int = 1) -> None:
    """End every rank of the job, if there are others; one that raised cannot reach the collectives
    they wait in.
    """
    if MPI.Is_initialized() and not MPI.Is_finalized() and MPI.COMM_WORLD.size > 1:
        time.sleep(_LAST_WORDS)
        MPI.COMM_WORLD.Abort(code)
        # under Slurm's pmi2 it does return, and MPI_Finalize would wait for the others
        os._exit(code)


def standard() -> str:
    """The version of the MPI standard that the library implements."""
    return ".".join(map(str, MPI.Get_version()))


def library() -> str:
    """The MPI library's name and version, as it gives them."""
    first = MPI.Get_library_version().replace("\0", "").splitlines()[0]
    return " ".join(first.split(",")[0].split())


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _before(kind, error, trace)
    stop_all()


def _wait_for_all() -> None:
    """MPI_Finalize would, with Python's threads gone: here one may still see that a rank has died."""
    if MPI.Is_initialized() and not MPI.Is_finalized():
        request = MPI.COMM_WORLD.Ibarrier()
        while not request.Test():
            time.sleep(_NAP)


_before, sys.excepthook = sys.excepthook, _uncaught
atexit.register(_wait_for_all)
