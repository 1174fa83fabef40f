"""What goes wrong on one rank ends all of them, at once, with a status and a text that say what it
was.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from mpi.launch import ALONE, MPIS, launch
from mpi.programs.failing import FailingAt
from mpi.running import run, wait_until

from mpifl.losses import LOSSES
from mpifl.store import Run

PROGRAM = Path(__file__).parent / "programs" / "failing.py"
SECONDS = 60
"""in which all ranks have ended, on a busy machine too: they would be patient for ten minutes"""

CONFIG = {
    "seed": 10,
    "rounds": 6,
    "clients": 6,
    "participation": {"kind": "bernoulli", "fraction": 0.7},
    "data": {"name": "digits", "train_limit": 300},
    "partition": {"name": "iid"},
    "model": {"name": "mlp", "hidden": [16]},
    "local": {"lr": 0.05, "batch": 16, "momentum": 0.9, "momentum_state": "persist"},
    "results": {"commit_seconds": 0},
}


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(CONFIG))
    return path


def run_failing(
    mpi: str, ranks: int, how: str, config: Path, *assignments: str
) -> subprocess.CompletedProcess:
    done = launch(mpi, ranks, PROGRAM, how, config, config.parent / "run", *assignments)
    print(done.stdout, done.stderr, sep="\n")  # pytest shows it where the test fails
    return done


def assert_all_ranks_ended(folder: Path, ranks: int) -> None:
    """Within SECONDS of the failure the launch was over, and no rank outlives it for longer than it
    takes to look.
    """
    assert time.time() - float((folder / "run.time").read_text()) < SECONDS
    pids = [int(path.name) for path in (folder / "run.pids").iterdir()]
    assert len(pids) == ranks
    wait_until(lambda: not any(map(runs, pids)))


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def lines_of_mpifl(stderr: str) -> list[str]:
    """Without what mpirun itself says of a job that failed."""
    return [line for line in stderr.splitlines() if line.startswith("mpifl:")]


@pytest.mark.parametrize("mpi", MPIS)
def test_an_exception_in_training_ends_all_ranks_and_names_rank_round_and_client(config, mpi):
    done = run_failing(mpi, 3, "raise", config)
    assert_all_ranks_ended(config.parent, 3)
    assert done.returncode != 0
    assert "RuntimeError: as asked for" in done.stderr
    assert "rank 1, round 2, client 3" in done.stderr or "rank 2, round 2, client 3" in done.stderr
    assert Run.open(config.parent / "run").status == "failed"


@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.parametrize("how", ["exit", "vanish", "killed"])
def test_a_rank_that_leaves_the_others_ends_them_too(config, mpi, how):
    done = run_failing(mpi, 3, how, config)
    assert_all_ranks_ended(config.parent, 3)
    # Where a process ends with 0 in the midst, MPICH's mpirun may return that: the run's status is
    # what counts.
    assert done.returncode != 0 or (how, mpi) == ("vanish", "mpich")
    # a rank that was killed tells nobody
    assert Run.open(config.parent / "run").status in ("failed", "running")


def test_an_exception_on_the_server_ends_all_ranks(config):
    done = run_failing("mpich", 2, "server", config)
    assert_all_ranks_ended(config.parent, 2)
    assert done.returncode != 0
    assert lines_of_mpifl(done.stderr)[0].startswith("mpifl: rank 0 on ")
    assert Run.open(config.parent / "run").status == "failed"


@pytest.mark.parametrize("mpi", MPIS)
def test_a_rank_that_has_said_why_it_ends_is_the_only_one_that_says_so(config, mpi):
    done = run_failing(mpi, 2, "refused", config)
    assert_all_ranks_ended(config.parent, 2)
    assert done.returncode != 0
    [line] = lines_of_mpifl(done.stderr)
    assert line.startswith("mpifl: rank 0: ") and "No space left on device" in line


@pytest.mark.parametrize("mpi", MPIS)
def test_a_diverging_run_ends_with_one_line_and_a_code_of_its_own(config, mpi):
    out = config.parent / "run"
    done = launch(mpi, 2, "-m", "mpifl", "run", config, "local.lr=1e6", "--out", out)
    assert done.returncode == 3, done.stderr
    [line] = lines_of_mpifl(done.stderr)
    assert line.startswith("mpifl: round 1, client ")
    assert "Traceback" not in done.stderr
    ended = Run.open(out)
    assert ended.status == "failed"
    assert len(ended.rounds["round"]) == 0


def test_a_client_that_diverges_can_be_left_out_of_its_round(config, monkeypatch):
    monkeypatch.setitem(LOSSES, "failing", FailingAt)
    done = [launch("mpich", 3, PROGRAM, "nan", config, config.parent / "run", "divergence=skip")]
    for divergence in ("skip", "continue"):
        out = config.parent / divergence
        loss = f"local.loss=failing(how='nan', out='{out}')"
        done.append(run(config, out, 1, loss, f"divergence={divergence}", mpi=ALONE))
    assert [ended.returncode for ended in done] == [0, 0, 0], [ended.stderr for ended in done]
    runs = [Run.open(config.parent / name) for name in ("run", "skip", "continue")]
    assert runs[0].status == "complete"
    assert np.isfinite(runs[0].rounds["test_loss"]).all()
    # it was left out of round 2, and trained later with what it remembered before
    assert runs[0].clients["participated"][:, 3].tolist() == [0, 0, 1, 0, 1, 1]
    assert len({tuple(run.rounds["sha256"]) for run in runs}) == 1
