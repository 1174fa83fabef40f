"""analysis/hessian.py on real ranks: killed and started again on other ranks, it ends in the
numbers of one process.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from analysis.small import make
from mpi.launch import ALONE, MPIS, environment, launch, mpirun
from mpi.running import kill, ranks_of, wait_until

from mpifl.store.measurements import Findings

SCRIPT = Path(__file__).parents[2] / "analysis" / "hessian.py"
BRAKING = Path(__file__).parent / "programs" / "braking.py"
LANDSCAPE = SCRIPT.with_name("landscape.py")
LITTLE = ("--probes", "16", "--set", "starts=2", "--set", "steps=6")
GIVEN = ("--clients", "--samples", "0", "--precision", "float64", *LITTLE)


@pytest.fixture(scope="module")
def run(once, tmp_path_factory) -> Path:
    """A copy of the tiny run, with what one process finds, under the name of whole."""
    folder = tmp_path_factory.mktemp("hessian") / "run"
    shutil.copytree(once("tiny-run", make), folder)
    ended = launch(ALONE, 1, SCRIPT, folder, *GIVEN, "--name", "whole")
    assert ended.returncode == 0, ended.stderr
    return folder


def numbers(run: Path, measurement: str) -> dict[str, np.ndarray]:
    found = Findings.open(run).under(measurement)
    return {
        f"{path}/{name}": array
        for path, finding in found.items()
        for name, array in finding.arrays.items()
    }


def assert_same(run: Path, name: str) -> None:
    whole, other = numbers(run, "whole"), numbers(run, name)
    assert other.keys() == whole.keys()
    for path, right in whole.items():
        if right.dtype.kind == "f" and not path.endswith(("residuals", "errors")):
            assert np.allclose(other[path], right, rtol=1e-6, atol=1e-9), path


@pytest.mark.parametrize("mpi", MPIS)
def test_two_ranks_find_what_one_finds(run, mpi):
    ended = launch(mpi, 2, SCRIPT, run, *GIVEN, "--name", mpi)
    assert ended.returncode == 0, ended.stderr
    assert "on 2 ranks" in ended.stdout
    assert_same(run, mpi)


def test_killed_on_two_ranks_it_goes_on_alone(run):
    program = (str(BRAKING), "hessian", str(run), *GIVEN, "--name", "killed")
    command = [*mpirun("mpich", 2), *program]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, env=environment("mpich"), **quiet) as process:
        wait_until(lambda: Findings.open(run).under("killed") or process.poll() is not None)
        os.killpg(process.pid, signal.SIGKILL)
        for rank in ranks_of(run).values():
            kill(rank, signal.SIGKILL)
    before = len(Findings.open(run).under("killed"))
    assert 1 <= before < len(Findings.open(run).under("whole"))
    ended = launch(ALONE, 1, SCRIPT, run, *GIVEN, "--name", "killed")
    assert ended.returncode == 0, ended.stderr
    assert_same(run, "killed")


def test_bad_input_is_one_line_on_many_ranks(run):
    ended = launch("mpich", 2, SCRIPT, run, "--rounds", "7")
    assert ended.returncode == 2
    assert (
        ended.stderr.strip() == "mpifl: --rounds: expected some of the stored rounds [1, 2]; got 7"
    )


def test_two_ranks_see_the_landscape_that_one_sees(run, tmp_path):
    given = (
        LANDSCAPE,
        run,
        "--along",
        "eigen,clients",
        "--points",
        "5",
        "--side",
        "3",
        "--samples",
        "40",
        "-o",
    )
    for mpi, ranks in ((ALONE, 1), ("mpich", 2)):
        ended = launch(mpi, ranks, *given, tmp_path / mpi)
        assert ended.returncode == 0, ended.stderr
    with np.load(tmp_path / f"{ALONE}.npz") as one, np.load(tmp_path / "mpich.npz") as two:
        assert one.files == two.files
        for name in one.files:
            words = one[name].dtype.kind == "U"
            assert (
                (one[name] == two[name]).all() if words else np.allclose(one[name], two[name], 1e-4)
            ), name
