"""Commands on several ranks: one rank reports a mistake, once; finished work is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from mpi.launch import environment, launch

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


def test_a_launcher_of_another_mpi_is_told_and_nothing_is_run(folder):
    before = content(folder)
    library = environment("openmpi")["MPI4PY_LIBMPI"]
    done = launch(
        "mpich", 2, "-m", "mpifl", "run", "good.toml", cwd=folder, env={"MPI4PY_LIBMPI": library}
    )
    assert done.returncode == 2
    [told] = [line for line in done.stderr.splitlines() if line.startswith("mpifl:")]
    assert told.startswith(
        "mpifl: launcher: expected one job of 2 ranks; got 2 separate jobs of 1: "
    )
    assert content(folder) == before


def test_two_ranks_leave_a_run_of_a_sweep_that_is_done_alone(folder):
    task = ["sweep", "sweep.toml", "--task", "0"]
    assert CliRunner().invoke(main, task).exit_code == 0
    before = content(folder)
    again = launch("mpich", 2, "-m", "mpifl", *task, cwd=folder)
    assert (again.returncode, again.stdout) == (0, "mpifl: out/seed=1 is done\n")
    assert content(folder) == before
