"""Refuse, in one line, a launcher and an MPI library that do not belong together."""

from __future__ import annotations

from mpifl.options import BadInput
from mpifl.parallel import launcher


def refuse_mismatch(library_version: str) -> None:
    """Raise BadInput where MPI_Init of this library would end the process, or start it alone."""
    library = launcher.first_line(library_version)
    if launcher.cannot_start(library_version):
        raise BadInput(
            f"launcher: expected one that starts {library}; got {launcher.name()}. "
            f"Remedy: {launcher.remedy(library)}"
        )
    if launcher.starts_apart(library):
        refuse_separate_jobs(library, 1)


def refuse_separate_jobs(library: str, size: int) -> None:
    """Raise BadInput where the launcher started more ranks than the `size` that MPI knows of."""
    launched = launcher.ranks()
    if launched and launched != size:
        raise BadInput(
            f"launcher: expected one job of {launched} ranks; got {launched // size} separate jobs "
            f"of {size}: {launcher.name()} does not connect the ranks of {library}. "
            f"Remedy: {launcher.remedy(library)}"
        )


def no_library(error: Exception) -> BadInput:
    """What to raise if mpi4py finds no MPI library."""
    return BadInput(
        f"no MPI library: mpi4py says: {'; '.join(str(error).splitlines())}. "
        "Remedy: `pip install mpich`, or load your cluster's MPI (`module load ...`), or "
        "MPI4PY_LIBMPI=PATH with the path of a libmpi.so"
    )
