"""`mpifl.run` on all ranks of a script gives the bits of a run alone."""

from pathlib import Path

import pytest
from mpi.launch import MPIS, launch
from tiny import digests

import mpifl

EARLY = """
import os
import sys
import mpifl
if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "1":
    raise ValueError("before the run")
mpifl.run({"name": "none", "rounds": 1})
"""
EARLY_EXIT = EARLY.replace('raise ValueError("before the run")', 'sys.exit("before the run")')
PROGRAM = Path(__file__).parent / "programs" / "interface.py"


def test_a_script_under_mpirun_runs_twice_on_all_ranks_with_the_bits_of_one_rank(tmp_path):
    done = launch("mpich", 2, PROGRAM, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [digest for digest, _ in digests({})]
    assert mpifl.open(tmp_path / "second").seed == 6


def test_an_exception_on_one_rank_ends_all_ranks_though_the_script_catches_it(tmp_path):
    done = launch("mpich", 2, PROGRAM, tmp_path, "failing")
    assert done.returncode != 0 and "ValueError: as asked for" in done.stderr
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("mpi", MPIS)
def test_an_exception_on_one_rank_before_the_run_ends_all_ranks(tmp_path, mpi):
    done = launch(mpi, 2, "-c", EARLY, timeout=300, cwd=tmp_path, afresh=True)
    assert done.returncode != 0 and "ValueError: before the run" in done.stderr


@pytest.mark.parametrize("mpi", MPIS)
def test_a_failed_exit_of_one_rank_before_the_run_ends_all_ranks(tmp_path, mpi):
    done = launch(mpi, 2, "-c", EARLY_EXIT, timeout=300, cwd=tmp_path, afresh=True)
    assert done.returncode != 0 and "before the run" in done.stderr
