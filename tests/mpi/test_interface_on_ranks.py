"""`mpifl.run` on all ranks of a script gives the bits of a run alone."""

from pathlib import Path

from mpi.launch import launch
from tiny import digests

import mpifl

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
