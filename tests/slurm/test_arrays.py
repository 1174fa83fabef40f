"""jobs/sweep.sbatch and jobs/chain.sh on a real Slurm."""

from __future__ import annotations

import pytest
from slurm.account import REPOSITORY, hashes

from mpifl.store import Run

pytestmark = pytest.mark.xdist_group("slurm")

SWEEP = """
base = "config.toml"
out = "out"
[grid]
rounds = [60, 2]
algorithm = ["scaffold", "fedavg"]
"""
SRUN = "srun, MPICH"


@pytest.fixture
def sweep(account):
    """A sweep of four runs in the user's folder; what `mpifl sweep` says of it."""
    (account.folder / "sweep.toml").write_text(SWEEP)
    return lambda *options: account.type(SRUN, "mpifl", "sweep", "sweep.toml", *options)


def test_an_array_runs_what_is_missing_and_a_task_cut_short_queues_itself_alone(account, sweep, undisturbed):
    sweep("--task", "2")
    before = Run.open(account.folder / "out/rounds=2_scaffold").attrs["updated"]
    assert sweep("--missing") == "0-1,3"
    job = account.sbatch("--array=0,2-3", "-n1", "sweep.sbatch", "sweep.toml")
    account.reaches("out/rounds=60_scaffold", 3)
    account.cluster.command("scancel", "--batch", "--signal=USR1", f"{job}_0")
    ended = account.ends(job, *["COMPLETED"] * 3)
    assert {one["ArrayTaskId"]: one["Restarts"] for one in ended} == {"0": "1", "2": "0", "3": "0"}
    assert hashes(account.folder / "out/rounds=60_scaffold") == undisturbed()
    assert "out/rounds=2_scaffold is done" in account.log("*_2.log")
    assert Run.open(account.folder / "out/rounds=2_scaffold").attrs["updated"] == before
    assert sweep("--missing") == "1"


def test_a_chain_trains_then_measures_the_curvature_then_makes_a_table(account):
    chain = REPOSITORY / "jobs/chain.sh"
    told = account.type(SRUN, "env", "TRAIN=-n2", "HESSIAN=-c1", chain, "config.toml", "run", "rounds=2")
    jobs = dict(part.split() for part in told.split(", "))
    assert list(jobs) == ["train", "hessian", "table"]
    for job in jobs.values():
        account.ends(job, "COMPLETED")
    assert (account.folder / "run/hessian.h5").exists()
    assert "λ_max" in (account.folder / "run/table.md").read_text()


def test_a_chain_ends_where_its_training_fails(account):
    chain = REPOSITORY / "jobs/chain.sh"
    told = account.type(SRUN, "env", "TRAIN=-n1", chain, "config.toml", "run", "rounds=none")
    train, hessian, table = (part.split()[1] for part in told.split(", "))
    account.ends(train, "FAILED")
    account.ends(hessian, "CANCELLED")
    account.ends(table, "CANCELLED")
