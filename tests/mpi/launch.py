"""Python programs under a real mpirun, of the MPICH or the Open MPI that `make test` installs, or
without any.

The ranks are forks of a process that has imported torch (programs/preloaded.py) where it is not
said that they start afresh: that takes seconds of each rank.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest

MPIS = ("mpich", "openmpi")
ALONE = "alone"
"""in the place of an MPI: one process, no mpirun"""

# What a launcher tells its ranks; a test run that was itself launched must not hand it on.
_OF_A_LAUNCHER = re.compile(
    r"PMI|HYDI?_|MPI_LOCAL|MPI4PY_|SLURM_|OMPI_(COMM|UNIVERSE|APP|FILE|NUM|FIRST)_"
)
_PREFIX = Path(sys.prefix)
_PROGRAMS = Path(__file__).parent / "programs"
STAND_IN = str(_PROGRAMS / "stand_in.py")
_IMPORTED_WITHIN = 180.0
"""seconds for torch"""


def launch(
    mpi: str,
    ranks: int,
    *argv: str | Path,
    timeout: float = 300,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    afresh: bool = False,
) -> subprocess.CompletedProcess:
    """`python argv` on `ranks` ranks of `mpi`, to its end; stdout and stderr as plain text.

    Fails the test when there is no such mpirun, and after `timeout` seconds, with all ranks ended.
    """
    command = [*mpirun(mpi, ranks, afresh), *map(str, argv)]
    pipe, group = subprocess.PIPE, {"start_new_session": True}
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, env=environment(mpi, env), cwd=cwd, **group
    ) as process:
        try:
            stdout, stderr = map(plain, process.communicate(timeout=timeout))
        except subprocess.TimeoutExpired:
            stdout, stderr = map(plain, _end(process))
            pytest.fail(f"not ended after {timeout} s: {command}\n{stdout}\n{stderr}")
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def environment(mpi: str, extra: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what a launcher left in it, and with what `mpi` needs
    here.
    """
    kept = {name: value for name, value in os.environ.items() if not _OF_A_LAUNCHER.match(name)}
    kept |= {"OMP_NUM_THREADS": "1"}
    if mpi == "openmpi":
        kept |= {
            "MPI4PY_LIBMPI": str(_PREFIX / "openmpi/lib/libmpi.so.40"),
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_osc": "^ucx",  # else it complains of itself on every window
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
            "PRTE_MCA_hwloc_default_binding_policy": "none",
            "PRTE_MCA_prte_tmpdir_base": tempfile.mkdtemp(dir=_folder_of_launches()),
        }
    return kept | (extra or {})


@cache
def _folder_of_launches() -> Path:
    """Where each mpirun of Open MPI has a folder of its own until this process ends.

    mpirun names its files by its process id. It does not start where a killed mpirun that had the
    same id has left files.
    """
    folder = Path(tempfile.mkdtemp(prefix="mpifl-openmpi-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def mpirun(mpi: str, ranks: int, afresh: bool = False) -> list[str]:
    """The start of a command line: Python on `ranks` ranks of `mpi`.

    The ranks are forks of a process that has imported torch, or start `afresh`. Fails the test
    where there is no mpirun.
    """
    python = [sys.executable]
    if not afresh:
        # The stand-in needs no installed package, and starts sooner without looking for them.
        python += ["-S", "-E", STAND_IN, str(preloaded() / "socket")]
    if mpi == ALONE:
        return python
    path = _PREFIX / {"mpich": "bin/mpirun", "openmpi": "openmpi/bin/mpirun"}[mpi]
    if not path.is_file():
        pytest.fail(
            f"expected {mpi}'s mpirun at {path}; got nothing there; "
            "`make test` installs it and runs the tests"
        )
    return [str(path), "-n", str(ranks), *python]


@cache
def preloaded() -> Path:
    """The folder of this process's preloaded.py, which runs until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="mpifl-ranks-"))
    command = [sys.executable, str(_PROGRAMS / "preloaded.py"), str(folder / "socket")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, env=environment(ALONE), start_new_session=True
    )
    atexit.register(_close, process, folder)
    deadline = time.monotonic() + _IMPORTED_WITHIN
    while not (folder / "socket").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{command} does not serve")
        time.sleep(0.02)
    return folder


def _close(process: subprocess.Popen, folder: Path) -> None:
    process.communicate()  # closes its stdin
    shutil.rmtree(folder)


def _end(process: subprocess.Popen) -> tuple[bytes, bytes]:
    """Ask mpirun to end its ranks, for Open MPI's outlive a killed one; then make sure."""
    process.terminate()
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()


def plain(output: bytes) -> str:
    """Text of what a program wrote: Open MPI's mpirun mixes in NUL bytes, and carriage returns."""
    return output.decode(errors="replace").replace("\0", "").replace("\r\n", "\n")
