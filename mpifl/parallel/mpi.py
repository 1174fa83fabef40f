"""MPI, started; the only module that imports mpi4py.

Import it before everything else: from then on, an exception on one rank ends all ranks.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from types import FrameType, TracebackType

from mpifl.parallel import launcher, mismatch
from mpifl.terminal import say

# Open MPI's wheel prints a warning for every shared window otherwise.
os.environ.setdefault("OMPI_MCA_osc", "^ucx")

# MPICH does not choose between PMI of its own mpirun and PMIx of a Slurm step around that.
if "HYDI_CONTROL_FD" in os.environ and "PMIX_NAMESPACE" in os.environ:
    os.environ.setdefault("MPIR_CVAR_PMI_VERSION", "1")

_RC = {"MPI4PY_RC_INITIALIZE": "0", "MPI4PY_RC_FINALIZE": "1"}
_given = {name: os.environ.get(name) for name in _RC}
os.environ.update(_RC)  # importing mpi4py starts MPI otherwise: `begin` looks at the library first
try:
    with launcher.signals_kill():
        from mpi4py import MPI
except (ImportError, RuntimeError) as error:
    raise mismatch.no_library(error) from error
finally:
    for _name, _value in _given.items():
        del os.environ[_name]
        if _value is not None:
            os.environ[_name] = _value

_NAP = 1e-3  # seconds between two looks
# Seconds for the launcher to pass on what a rank has printed: MPICH's drops it if ranks end first.
_OUTPUT_DELAY = 0.5
INTERRUPTED = 130
"""the exit code after Ctrl-C, which shells know too"""


def begin() -> int:
    """Start MPI, unless it is running. Returns the number of ranks.

    Importing this module calls it, unless MPI4PY_RC_INITIALIZE=0 postpones that. Raises BadInput
    if the library and the launcher do not belong together and MPI_Init would end the process.
    """
    if not MPI.Is_initialized():
        mismatch.refuse_mismatch(MPI.Get_library_version())
        with launcher.starting(), launcher.signals_kill(), warnings.catch_warnings():
            # mpi4py warns on every rank; the Communicator refuses such a start in one line
            warnings.filterwarnings("ignore", "suspicious MPI execution environment")
            MPI.Init_thread(MPI.THREAD_MULTIPLE)
    return MPI.COMM_WORLD.size


def stop_all(code: int = 1) -> None:
    """End every rank of the job with an exit code. Returns if this rank is the only one.

    A rank that has failed needs this: the others wait for it in collectives.
    """
    if _is_running() and MPI.COMM_WORLD.size > 1:
        time.sleep(_OUTPUT_DELAY)
        MPI.COMM_WORLD.Abort(code)
        # Under Slurm's pmi2, Abort returns; MPI_Finalize would then wait for the others.
        os._exit(code)


def end_all_on_interrupt() -> None:
    """From now on, a SIGINT ends all ranks, with one line and exit code 130.

    A KeyboardInterrupt might be caught by a module that is being imported.
    """
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL):
        signal.signal(signal.SIGINT, _end_all)


def raise_on_interrupt() -> None:
    """From now on, a SIGINT raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end_all:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_all(_number: int, _frame: FrameType | None) -> None:
    say("mpifl: interrupted", error=True)
    stop_all(INTERRUPTED)
    os._exit(INTERRUPTED)


def wait_for_all(ranks: MPI.Intracomm) -> None:
    """Wait until every rank of a communicator has called this; Python's threads keep running."""
    if not _is_running():
        return
    request = ranks.Ibarrier()
    while not request.Test():
        time.sleep(_NAP)


def standard() -> str:
    """The version of the MPI standard that the library implements, such as 4.1."""
    return ".".join(str(number) for number in MPI.Get_version())


def library() -> str:
    """The MPI library's name and version, in its own words."""
    return launcher.first_line(library_version())


def library_version() -> str:
    """All that the MPI library says of itself, in many lines. MPI need not be started."""
    return MPI.Get_library_version()


def _is_running() -> bool:
    return MPI.Is_initialized() and not MPI.Is_finalized()


_previous_excepthook = sys.excepthook


def _print_and_stop_all(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _previous_excepthook(kind, error, trace)
    stop_all()


sys.excepthook = _print_and_stop_all

if _given["MPI4PY_RC_INITIALIZE"] != "0":
    begin()
