"""SIGKILL of the server or of a worker at random moments, again and again: nothing is lost but
rounds to be done again.

After every kill all files of the run open, and all its ranks are gone; in the end the bits are an
undisturbed run's.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import h5py
import pytest
from mpi.launch import ALONE
from mpi.running import begun, columns, done, ended, ranks_of, run, slow, wait_until, written

from mpifl.store import Run, checkpoint

OPTIONS = {
    "model": {"name": "mlp", "hidden": [16]},
    "evaluation": {"every": 10},
    "results": {
        "checkpoint_rounds": 2,
        "commit_seconds": 0.0,
        "weights_every": 5,
        "clients_every": 30,
    },
}
"""rounds of hundredths of a second, with all that a run writes"""


@pytest.mark.parametrize("victim", [0, 1])
def test_a_run_killed_six_times_ends_in_the_same_bits(tmp_path, victim):
    kill_until_complete(tmp_path, victim, kills=6)


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_run_killed_a_hundred_times_ends_in_the_same_bits(tmp_path, victim):
    kill_until_complete(tmp_path, victim, kills=100)


def kill_until_complete(folder: Path, victim: int, kills: int) -> None:
    draw, out, rounds = random.Random(victim), folder / "run", 10 * kills
    config = written(folder, **OPTIONS, rounds=rounds)
    assert run(config, folder / "whole", 1, mpi=ALONE).returncode == 0
    ranks, before = max(2, victim + 1), 0
    for number in range(kills):
        mpi = "openmpi" if number % 5 == 4 else "mpich"
        # all but stops after some rounds, and so is never complete before it is killed
        program = slow(0.0, before + 7)
        with begun(config, out, ranks, "--resume-or-start", mpi=mpi, program=program) as process:
            wait_until(lambda: victim in ranks_of(out))
            if number % 3:  # else while it starts
                wait_until(lambda before=before: done(out) > before)
            time.sleep(draw.uniform(0, 0.3))
            os.kill(ranks_of(out)[victim], signal.SIGKILL)
            ended(process)
            wait_until(lambda: not ranks_of(out))
        assert_all_opens(out)
        before = done(out)
        if (out / "results.h5").exists():  # else it was killed before its first commit
            # if another rank saw it, and had the time to say so
            assert Run.open(out).status in ("running", "failed")
    finished = run(config, out, 1, "--resume-or-start", mpi=ALONE)
    assert finished.returncode == 0, finished.stderr
    assert before < rounds
    assert Run.open(out).status == "complete"
    assert columns(out) == columns(folder / "whole")


def assert_all_opens(out: Path) -> None:
    """Every file that is there under its own name, and what the manifest names."""
    for path in out.rglob("*.h5"):
        with h5py.File(path, "r", locking=False) as file:
            file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
    if (out / "results.h5").is_file():
        Run.open(out)
        checkpoint.latest(out)
