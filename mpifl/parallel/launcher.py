"""How this process was launched, told from its environment, and whether the launcher and the MPI
library understand each other. Nothing here needs MPI to be started: where they do not, starting it
may end the process.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
"""where launchers say which rank a process is, before MPI is started"""

START_SECONDS = 600.0
"""how long MPI may take to start: where another rank does not, or the launcher loses a message, it
would for ever
"""


@contextmanager
def starting() -> Iterator[None]:
    """To start MPI in: ends this process, with a traceback, after START_SECONDS."""
    faulthandler.dump_traceback_later(START_SECONDS, exit=True, file=2)  # sys.stderr may be no file
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def ranks() -> int | None:
    """How many ranks the launcher says it started as one job, from its environment; None when not
    launched.
    """
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        if name in os.environ:
            return int(os.environ[name])
    if "SLURM_STEP_ID" in os.environ and "SLURM_STEP_NUM_TASKS" in os.environ:
        return int(os.environ["SLURM_STEP_NUM_TASKS"])
    return None


def launcher() -> str:
    """What started this process, in words."""
    known = os.environ
    if "OMPI_COMM_WORLD_SIZE" in known:
        return "mpirun of Open MPI"
    if "HYDI_CONTROL_FD" in known:
        return "mpirun of MPICH"
    if "SLURM_STEP_ID" in known:
        return f"srun --mpi={_slurm_interface()}"
    if "PMI_SIZE" in known:
        return "an mpirun that speaks PMI"
    return "an mpirun that speaks PMIx" if "PMIX_NAMESPACE" in known else "none: started alone"


def _slurm_interface() -> str:
    if "PMIX_NAMESPACE" in os.environ:
        return "pmix"
    return "pmi2" if "PMI_SIZE" in os.environ or "PMI_RANK" in os.environ else "none"


def first() -> bool:
    """Whether this is the launcher's rank 0, or alone: the one that speaks while MPI cannot say who
    is who.
    """
    return next((os.environ[name] for name in RANKS if name in os.environ), "0") == "0"


def deaf(library: str) -> bool:
    """Whether `library` is known to end in MPI_Init under this launcher: MPICH's usual builds,
    under PMIx.
    """
    return "MPICH" in library and "PMIX_NAMESPACE" in os.environ and "PMI_RANK" not in os.environ


def diagnosis(library: str, launched: int, size: int = 1) -> str:
    """What is wrong when the launcher started `launched` processes and each finds `size` ranks; and
    what helps.
    """
    apart = "each of one rank" if size == 1 else f"of {size} ranks each"
    return (
        f"{launched // size} separate jobs, {apart}, in the place of one job of {launched} ranks\n"
        f"  launcher  {launcher()}\n"
        f"  library   {library}{_at(library_path())}\n"
        "The launcher is of another MPI than this Python's library: no process knows of the others, and each would do "
        f"all the work.\nRemedy: {remedy(library)}"
    )


def remedy(library: str) -> str:
    """How to launch a Python whose MPI is `library`."""
    if launcher().startswith("srun"):
        way = {"MPICH": "srun --mpi=pmi2", "Open MPI": "srun --mpi=pmix"}
        known = next((command for name, command in way.items() if name in library), None)
        return f"{known or 'another srun --mpi='}, or the library's own mpirun{_at(own_mpirun())} (`srun --mpi=list`)"
    return (
        f"the library's own mpirun{_at(own_mpirun())}, or MPI4PY_LIBMPI=PATH with the path of the libmpi.so that "
        "belongs to this launcher"
    )


def library_path() -> str | None:
    """The file of the MPI library that is loaded; None where the system does not tell."""
    try:
        mapped = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    found = re.search(r"/\S*/libmpi\w*\.so\S*", mapped)
    return found and found.group()


def own_mpirun() -> str | None:
    """The mpirun that was installed with the library, if it stands where it usually does."""
    path = library_path()
    found = path and Path(path).parent.parent / "bin" / "mpirun"
    return str(found) if found and found.is_file() else None


def cuda_aware() -> str:
    """Whether the library says that it takes GPU memory: yes, no or unknown. For use after MPI is
    started.
    """
    try:
        return "yes" if ctypes.CDLL(library_path()).MPIX_Query_cuda_support() == 1 else "no"
    except (OSError, AttributeError, TypeError):
        return "unknown: it does not say"


def _at(path: str | None) -> str:
    return f" ({path})" if path else ""
