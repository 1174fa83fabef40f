"""jobs/sweep.sbatch on a real Slurm."""

from __future__ import annotations

import pytest
from slurm.account import SRUN, hashes, restarts

from mpifl.store import Run

pytestmark = pytest.mark.xdist_group("slurm")

SWEEP = """
base = "config.toml"
out = "out"
[grid]
rounds = [60, 2]
algorithm = ["scaffold", "fedavg"]
"""


@pytest.fixture
def sweep(account):
    """A sweep of four runs in the user's folder; what `mpifl sweep` says of it."""
    (account.folder / "sweep.toml").write_text(SWEEP)
    return lambda *options: account.type(SRUN, "mpifl", "sweep", "sweep.toml", *options)


def test_an_array_runs_what_is_missing_and_a_task_cut_short_queues_itself_alone(
    account, sweep, undisturbed
):
    sweep("--task", "2")
    before = Run.open(account.folder / "out/rounds=2_scaffold").attrs["updated"]
    assert sweep("--missing") == "0-1,3"
    job = account.sbatch("--array=0,2-3", "-n1", "sweep.sbatch", "sweep.toml")
    account.warn(f"{job}_0", "out/rounds=60_scaffold", rounds=3)
    ended = account.ends(job, *["COMPLETED"] * 3)
    counts = {one["ArrayTaskId"]: restarts(one) for one in ended}
    assert counts.pop("0") >= 1
    assert counts == {"2": 0, "3": 0}
    assert hashes(account.folder / "out/rounds=60_scaffold") == undisturbed()
    assert "out/rounds=2_scaffold is done" in account.log("*_2.log")
    assert Run.open(account.folder / "out/rounds=2_scaffold").attrs["updated"] == before
    assert sweep("--missing") == "1"
