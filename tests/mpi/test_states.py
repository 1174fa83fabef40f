"""Clients' states on disk: the same bits as in memory, for any number of ranks, after a kill."""

from __future__ import annotations

import os
import signal

import pytest
from mpi.calls import runs
from mpi.job import MPICH, on
from mpi.launch import ALONE
from mpi.running import SLOW, begun, columns, resume, run, wait_for_rounds, written


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> tuple:
    """A config whose clients remember much, and what its run says when they do so in memory."""
    folder = tmp_path_factory.mktemp("reference")
    config = written(folder)
    done = run(config, folder / "run", 1, mpi=ALONE)
    assert done.returncode == 0, done.stderr
    return config, columns(folder / "run")


@pytest.mark.parametrize(("mpi", "ranks"), [on("mpich", 1), on("mpich", 3), on("openmpi", 3)])
def test_states_on_disk_change_no_bit(job, reference, tmp_path, mpi, ranks):
    config, expected = reference
    states, out = tmp_path / "states", tmp_path / "run"
    states.mkdir()
    more = [f"runtime.states_folder={states}"]
    code, output = job(mpi).call(ranks, runs.run, config, out, more, False)[0]
    assert code == 0, output
    assert columns(out) == expected
    assert "round 12/12" in output
    assert list(states.iterdir()) == []


@MPICH
def test_a_killed_run_leaves_no_states_and_resumes_with_them_in_memory_or_back_on_disk(
    job, reference, tmp_path
):
    config, expected = reference
    states, out = tmp_path / "states", tmp_path / "run"
    states.mkdir()
    for ranks, where, rounds in (
        (3, f"runtime.states_folder={states}", 5),
        (2, "runtime.states_folder=", 8),
    ):
        more = [where, "--resume"] if out.exists() else [where]
        with begun(config, out, ranks, *more, program=SLOW) as process:
            wait_for_rounds(out, rounds, process)
            os.killpg(process.pid, signal.SIGKILL)
        assert list(states.iterdir()) == []
    resume(job("mpich"), 3, config, out, f"runtime.states_folder={states}")
    assert columns(out) == expected


def test_a_folder_that_is_not_there_is_refused_in_one_line_and_variables_are_the_ranks(
    reference, tmp_path
):
    for text, expected in (
        ("$NOT_SET/states", "expected variables that are set; got '$NOT_SET/states'"),
        ("$HOME/not-there/states", "expected a folder"),
    ):
        done = run(reference[0], tmp_path / "run", 2, f"runtime.states_folder={text}")
        assert done.returncode == 2
        assert done.stderr.startswith(f"mpifl: runtime.states_folder: {expected}")
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "run").exists()
