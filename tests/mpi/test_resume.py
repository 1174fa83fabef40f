"""A run that was killed goes on from its checkpoint, on another number of ranks, and ends in the
same weights.
"""

from __future__ import annotations

import os
import signal

from mpi.job import MPICH
from mpi.launch import ALONE
from mpi.running import SLOW, begun, columns, resume, run, wait_for_rounds, written

from mpifl.store import Run
from mpifl.store.run_folder import Owner


@MPICH
def test_a_killed_run_resumes_on_other_ranks_with_the_same_bits(job, tmp_path):
    config = written(tmp_path)
    assert run(config, tmp_path / "whole", 1, mpi=ALONE).returncode == 0
    with begun(config, tmp_path / "killed", 3, program=SLOW) as process:
        wait_for_rounds(tmp_path / "killed", 5, process)
        os.killpg(process.pid, signal.SIGKILL)
    assert Run.open(tmp_path / "killed").status == "running"
    output = resume(job("mpich"), 2, config, tmp_path / "killed")
    assert "resuming after round" in output
    assert columns(tmp_path / "whole") == columns(tmp_path / "killed")


def test_more_rounds_can_be_asked_of_a_complete_run_and_a_changed_option_is_refused(tmp_path):
    config = written(tmp_path)
    assert run(config, tmp_path / "long", 1, "rounds=6", mpi=ALONE).returncode == 0
    assert run(config, tmp_path / "short", 1, "rounds=4", mpi=ALONE).returncode == 0
    refused = run(config, tmp_path / "short", 1, "rounds=6", "local.lr=0.1", "--resume", mpi=ALONE)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "local.lr" in refused.stderr
    assert run(config, tmp_path / "short", 1, "rounds=6", "--resume", mpi=ALONE).returncode == 0
    digests = [Run.open(tmp_path / name).rounds["sha256"].tolist() for name in ("short", "long")]
    assert digests[0] == digests[1]


def test_a_run_killed_before_its_first_commit_begins_anew(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    out.mkdir()
    Owner.claim(out)
    assert run(config, out, 1, "rounds=2", "--resume", mpi=ALONE).returncode == 0
    assert Run.open(out).status == "complete"
