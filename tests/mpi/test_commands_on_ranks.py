"""Commands on several ranks: one rank reports a mistake, once; finished work is left alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from mpi.launch import ALONE, launch

from mpifl.cli import main

CONFIG = """
name = "small"
rounds = 1
clients = 4
data = { name = "digits", train_limit = 200, test_limit = 50 }
model = { name = "mlp", hidden = [8] }
"""
SWEEP = """
base = "good.toml"
out = "out"
[grid]
seed = [1, 2]
"""


@pytest.fixture
def folder(elsewhere) -> Path:
    """The working directory, with a config, a sweep of it, and a folder of the user's own files."""
    (elsewhere / "good.toml").write_text(CONFIG)
    (elsewhere / "sweep.toml").write_text(SWEEP)
    (elsewhere / "mine").mkdir()
    (elsewhere / "mine" / "notes.txt").touch()
    return elsewhere


def content(folder: Path) -> dict[Path, bytes]:
    """Every file with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("mpi", "arguments", "line"),
    [
        ("mpich", ["good.toml", "local.epoch=1"], "local.epoch: unknown key"),
        ("openmpi", ["good.toml", "--out", "mine"], "mine: expected an empty or new folder"),
    ],
)
def test_three_ranks_tell_a_mistake_once_and_make_no_file(folder, mpi, arguments, line):
    before = content(folder)
    done = launch(mpi, 3, "-m", "mpifl", "run", *arguments, cwd=folder)
    assert done.returncode == 2
    [told] = [line for line in done.stderr.splitlines() if "expected" in line or "unknown" in line]
    assert told.startswith(f"mpifl: {line}")
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") < 20  # MPICH's mpirun says there that the job failed
    assert content(folder) == before


def test_three_ranks_tell_a_wrong_option_once(folder):
    done = launch("mpich", 3, "-m", "mpifl", "run", "good.toml", "--ot", "mine", cwd=folder)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith(("Usage", "Error"))]
    assert [line.split()[0] for line in told] == ["Usage:", "Error:"]


OTHERS = {
    "mpich": (
        f"{sys.prefix}/openmpi/lib/libmpi.so.40",
        "expected one job of 2 ranks; got 2 separate jobs of 1: mpirun of MPICH does not connect "
        "the ranks of Open MPI ",
        f"{sys.prefix}/openmpi/bin/mpirun",
    ),
    "openmpi": (
        f"{sys.prefix}/lib/libmpi.so.12",
        "expected one that starts MPICH ",
        f"{sys.prefix}/bin/mpirun",
    ),
}
"""a launcher, and of the other MPI: the library, what is told, and the mpirun to take"""


@pytest.mark.parametrize("mpi", OTHERS)
def test_a_launcher_of_another_mpi_is_told_with_the_remedy_and_nothing_is_run(folder, mpi):
    library, words, remedy = OTHERS[mpi]
    before = content(folder)
    command = ("-m", "mpifl", "run", "good.toml")
    done = launch(mpi, 2, *command, cwd=folder, env={"MPI4PY_LIBMPI": library})
    assert done.returncode == 2
    said = done.stdout + done.stderr
    [told] = [line for line in said.splitlines() if line.startswith("mpifl:")]
    assert told.startswith(f"mpifl: launcher: {words}")
    assert f"Remedy: the library's own mpirun ({remedy})" in told
    for noise in ("Fatal error", "suspicious", "Traceback"):
        assert noise not in said
    assert content(folder) == before


@pytest.mark.parametrize("rank", ["0", "1"])
def test_srun_without_a_process_manager_is_told_with_the_remedy_once(folder, rank):
    before = content(folder)
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": rank}
    done = launch(ALONE, 1, "-m", "mpifl", "run", "good.toml", cwd=folder, env=step)
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert len(told) == (1 if rank == "0" else 0)
    assert all("Remedy: srun --mpi=pmi2, or the library's own mpirun" in line for line in told)
    assert content(folder) == before


def test_mpirun_of_mpich_starts_inside_a_slurm_step_that_speaks_pmix(folder):
    step = {"PMIX_NAMESPACE": "slurm.1.0", "PMIX_RANK": "0"}
    done = launch("mpich", 2, "-m", "mpifl", "run", "good.toml", cwd=folder, env=step)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_mpi_library_is_told_in_a_line(folder):
    nowhere = {"MPI4PY_LIBMPI": "/nowhere/libmpi.so"}
    done = launch(ALONE, 1, "-m", "mpifl", "run", "good.toml", cwd=folder, env=nowhere)
    assert done.returncode == 2
    [told] = done.stderr.splitlines()
    assert told.startswith("mpifl: no MPI library: ")
    assert "Remedy: `pip install mpich`" in told


def test_two_ranks_leave_a_run_of_a_sweep_that_is_done_alone(folder):
    task = ["sweep", "sweep.toml", "--task", "0"]
    assert CliRunner().invoke(main, task).exit_code == 0
    before = content(folder)
    again = launch("mpich", 2, "-m", "mpifl", *task, cwd=folder)
    assert (again.returncode, again.stdout) == (0, "mpifl: out/seed=1 is done\n")
    assert content(folder) == before
