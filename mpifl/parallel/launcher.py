"""How this process was launched, and whether the launcher and the MPI library belong together.

Everything is read from the environment, and nothing needs MPI: with the wrong library, starting MPI
may end the process.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mpifl.parallel.timeouts import TIMEOUTS
from mpifl.terminal import say

RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
"""the variables in which launchers tell a process its rank, before MPI is started"""

_SECONDS_FOR_THE_FIRST = 2.0
_STDERR = 2  # sys.stderr may be no file


@contextmanager
def starting() -> Iterator[None]:
    """The context in which MPI is started. It ends this process, with a traceback, at a timeout.

    Otherwise a rank would wait forever if another one does not start, or if the launcher loses a
    message.
    """
    faulthandler.dump_traceback_later(TIMEOUTS.start, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def signals_kill() -> Iterator[None]:
    """Inside this context, on one of several ranks, SIGINT, SIGTERM and SIGUSR1 kill this process.

    Then the launcher ends the other ranks. Python's KeyboardInterrupt would come only after a wait
    inside MPI, and MPICH's mpirun ignores a process that exits by itself before MPI has started,
    and one that SIGUSR1 kills.
    """
    is_alone = ranks() in (None, 1)
    if is_alone or threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    user = signal.signal(signal.SIGUSR1, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGUSR1, user)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def number(text: str | None) -> int | None:
    """The positive number with which a launcher's variable begins; None if there is none.

    Slurm writes 2(x3) for three nodes of two, and 2,1 for nodes that differ.

    >>> number("16"), number("2(x3)"), number(""), number("0"), number(None)
    (16, 2, None, None, None)
    """
    found = re.match(r"\s*(\d+)", text or "")
    if found is None or int(found.group(1)) == 0:
        return None
    return int(found.group(1))


def ranks() -> int | None:
    """How many ranks the launcher says it has started as one job; None if it does not say."""
    for variable in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        if variable in os.environ:
            return number(os.environ[variable])
    if "SLURM_STEP_ID" in os.environ:
        return number(os.environ.get("SLURM_STEP_NUM_TASKS"))
    return None


def name() -> str:
    """What has launched this process, in words."""
    if "OMPI_COMM_WORLD_SIZE" in os.environ:
        return "mpirun of Open MPI"
    if "HYDI_CONTROL_FD" in os.environ:
        return "mpirun of MPICH"
    if "SLURM_STEP_ID" in os.environ:
        return f"srun --mpi={_slurm_interface()}"
    if "PMI_SIZE" in os.environ:
        return "an mpirun that speaks PMI"
    if "PMIX_NAMESPACE" in os.environ:
        return "an mpirun that speaks PMIx"
    return "none: started alone"


def _slurm_interface() -> str:
    if "PMIX_NAMESPACE" in os.environ:
        return "pmix"
    if "PMI_SIZE" in os.environ or "PMI_RANK" in os.environ:
        return "pmi2"
    return "none"


def is_first() -> bool:
    """Whether this process is the launcher's rank 0, or was not launched.

    It is the one that prints while MPI cannot say which rank is which.
    """
    for variable in RANKS:
        if variable in os.environ:
            return os.environ[variable] == "0"
    return True


def say_once(line: str) -> None:
    """Print a line for all processes of a launcher, which cannot find each other."""
    if is_first():
        say(line, error=True)
    else:
        leave_it_to_the_first()


def leave_it_to_the_first() -> None:
    """Wait until the launcher's first process has printed what went wrong: a launcher may end all
    processes when one has ended.
    """
    time.sleep(_SECONDS_FOR_THE_FIRST)


def cannot_start(library_version: str) -> bool:
    """Whether MPI_Init of this library (its whole description) ends the process here.

    So does MPICH under PMIx, unless it was built with it.
    """
    return may_not_start(library_version) and (
        "MPICH configure:" in library_version and "pmix" not in library_version.lower()
    )


def may_not_start(library: str) -> bool:
    """Whether MPI_Init of this library is known to end the process here in most builds."""
    has_pmix_only = "PMIX_NAMESPACE" in os.environ and "PMI_RANK" not in os.environ
    return "MPICH" in library and has_pmix_only


def starts_apart(library: str) -> bool:
    """Whether each process starts this library alone: Open MPI under the mpirun of MPICH."""
    by_hydra = "HYDI_CONTROL_FD" in os.environ and "OMPI_COMM_WORLD_SIZE" not in os.environ
    return "Open MPI" in library and by_hydra and (ranks() or 1) > 1


def first_line(library_version: str) -> str:
    """The library's name and version, in its own words.

    >>> first_line("Open MPI v5.0.11, package: Open MPI root@x\\0")
    'Open MPI v5.0.11'
    """
    lines = library_version.replace("\0", "").splitlines()
    return " ".join(lines[0].split(",")[0].split())


def diagnosis(library: str, launched: int, size: int = 1) -> str:
    """What is wrong if `launched` processes are in jobs of `size` ranks each, and a remedy."""
    jobs = launched // size
    each = "each of one rank" if size == 1 else f"of {size} ranks each"
    return (
        f"got {jobs} separate jobs, {each}; expected one job of {launched} ranks\n"
        f"  launcher  {name()}\n"
        f"  library   {library}{_in_brackets(library_path())}\n"
        "The launcher belongs to another MPI than the library that this Python loads. Each process "
        f"would do all the work alone.\nRemedy: {remedy(library)}"
    )


def remedy(library: str) -> str:
    """How to launch a Python whose MPI is `library`."""
    own = f"the library's own mpirun{_in_brackets(own_mpirun())}"
    if not name().startswith("srun"):
        return f"{own}, or MPI4PY_LIBMPI=PATH with the path of this launcher's own libmpi.so"
    if "MPICH" in library:
        srun = "srun --mpi=pmi2"
    elif "Open MPI" in library:
        srun = "srun --mpi=pmix"
    else:
        srun = "another srun --mpi=TYPE (`srun --mpi=list` shows the types)"
    return f"{srun}, or {own}"


def library_path() -> str | None:
    """The file of the MPI library that is loaded; None if the system does not tell."""
    try:
        mapped = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    found = re.search(r"/\S*/libmpi\w*\.so\S*", mapped)
    return found.group() if found else None


def own_mpirun() -> str | None:
    """The mpirun that was installed with the library; None if it is not in the usual place."""
    library = library_path()
    if library is None:
        return None
    mpirun = Path(library).parent.parent / "bin" / "mpirun"
    return str(mpirun) if mpirun.is_file() else None


def cuda_aware() -> str:
    """Whether the library takes GPU memory: yes, no or unknown. MPI must be started."""
    try:
        answer = ctypes.CDLL(library_path()).MPIX_Query_cuda_support()
    except (OSError, AttributeError, TypeError):
        return "unknown: it does not say"
    return "yes" if answer == 1 else "no"


def _in_brackets(path: str | None) -> str:
    return f" ({path})" if path else ""
