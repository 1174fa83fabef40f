"""A run that was killed goes on from its checkpoint, on another number of ranks, and ends in the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import tomli_w
from mpi.launch import environment, launch, mpirun

from mpifl.settings import BadInput
from mpifl.store import Run

CONFIG = {
    "seed": 5,
    "rounds": 12,
    "clients": 8,
    "participation": {"kind": "bernoulli", "fraction": 0.5},
    "data": {"name": "digits", "train_limit": 400},
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "model": {"name": "cnn"},
    "algorithm": {"name": "scaffold", "server_step": {"name": "sgd", "momentum": 0.5}},
    "local": {"lr": 0.05, "batch": 16, "momentum": 0.5, "momentum_state": "persist"},
    "evaluation": {"every": 3, "models": ["cohort", "all"]},
    "results": {"checkpoint_rounds": 2, "commit_seconds": 0.0},
}


def run(config: Path, out: Path, ranks: int, *more: str):
    return launch("mpich", ranks, "-m", "mpifl", "run", config, "--out", out, *more)


def kill_after(config: Path, out: Path, rounds: int) -> None:
    """Start the run on three ranks and SIGKILL all of it once `rounds` rounds are on disk."""
    command = [*mpirun("mpich", 3), "-m", "mpifl", "run", str(config), "--out", str(out)]
    process = subprocess.Popen(command, env=environment("mpich"), start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while _done(out) < rounds and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _done(out: Path) -> int:
    try:
        return len(Run.open(out).rounds["round"])
    except (BadInput, KeyError):
        return 0


def columns(out: Path) -> dict[str, list]:
    rounds = Run.open(out).rounds
    names = ("round", "sha256", "test_accuracy", "test_accuracy_all", "bytes_up", "lr")
    return {name: rounds[name].tolist() for name in names}


def test_a_killed_run_resumes_on_other_ranks_with_the_same_bits(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(tomli_w.dumps(CONFIG))
    assert run(config, tmp_path / "whole", 2).returncode == 0
    kill_after(config, tmp_path / "killed", 5)
    assert Run.open(tmp_path / "killed").status == "running"
    resumed = run(config, tmp_path / "killed", 2, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after round" in resumed.stdout
    whole, again = columns(tmp_path / "whole"), columns(tmp_path / "killed")
    assert str(whole) == str(again)  # as text: rounds without an evaluation are NaN


def test_more_rounds_can_be_asked_of_a_complete_run_and_a_changed_option_is_refused(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(tomli_w.dumps(CONFIG))
    assert run(config, tmp_path / "long", 1, "rounds=6").returncode == 0
    assert run(config, tmp_path / "short", 1, "rounds=4").returncode == 0
    refused = run(config, tmp_path / "short", 1, "rounds=6", "local.lr=0.1", "--resume")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "local.lr" in refused.stderr
    assert run(config, tmp_path / "short", 1, "rounds=6", "--resume").returncode == 0
    assert columns(tmp_path / "short")["sha256"] == columns(tmp_path / "long")["sha256"]
