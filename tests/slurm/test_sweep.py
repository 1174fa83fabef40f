"""jobs/sweep.sbatch and jobs/chain.sh on a real Slurm."""

from __future__ import annotations

import pytest
from slurm.conftest import REPOSITORY, hashes

from mpifl.store import Run

pytestmark = pytest.mark.xdist_group("slurm")

SWEEP = """
base = "config.toml"
out = "out"
[grid]
algorithm = ["scaffold", "fedavg"]
rounds = [60, 2]
"""
SRUN = "srun, MPICH"


@pytest.fixture
def sweep(site):
    """A sweep of four runs in the user's folder; what `mpifl sweep` says of it."""
    (site.folder / "sweep.toml").write_text(SWEEP)
    return lambda *options: site.type(SRUN, "mpifl", "sweep", "sweep.toml", *options)


def test_an_array_runs_what_is_missing_and_a_task_cut_short_queues_itself_alone(site, sweep, undisturbed):
    sweep("--task", "1")
    assert sweep("--missing") == "0,2-3"
    job = site.sbatch(f"--array={sweep('--missing')}", "-n1", "sweep.sbatch", "sweep.toml")
    site.reaches("out/scaffold_rounds=60", 3)
    site.cluster.command("scancel", "--batch", "--signal=USR1", f"{job}_0")
    ended = site.ends(job, "COMPLETED", "COMPLETED", "COMPLETED")
    assert {one["ArrayTaskId"]: one["Restarts"] for one in ended} == {"0": "1", "2": "0", "3": "0"}
    assert hashes(site.folder / "out/scaffold_rounds=60") == undisturbed()
    assert sweep("--missing") == ""
    assert [line.split("\t")[1] for line in sweep("--list").splitlines()] == ["done"] * 4


def test_the_same_array_again_leaves_its_runs_alone(site, sweep):
    sweep("--task", "3")
    before = Run.open(site.folder / "out/fedavg_rounds=2").attrs["updated"]
    site.ends(site.sbatch("--array=3", "-n2", "sweep.sbatch", "sweep.toml"), "COMPLETED")
    assert Run.open(site.folder / "out/fedavg_rounds=2").attrs["updated"] == before
    assert "out/fedavg_rounds=2 is done" in site.log()


def test_a_chain_trains_then_measures_the_curvature_then_makes_a_table(site):
    chain = REPOSITORY / "jobs/chain.sh"
    told = site.type(SRUN, "env", "TRAIN=-n2", "HESSIAN=-c1", chain, "config.toml", "run", "rounds=2")
    jobs = dict(part.split() for part in told.split(", "))
    assert list(jobs) == ["train", "hessian", "table"]
    for job in jobs.values():
        site.ends(job, "COMPLETED")
    assert (site.folder / "run/hessian.h5").exists()
    assert "λ_max" in (site.folder / "run/table.md").read_text()


def test_a_chain_ends_where_its_training_fails(site):
    chain = REPOSITORY / "jobs/chain.sh"
    told = site.type(SRUN, "env", "TRAIN=-n1", chain, "config.toml", "run", "rounds=none")
    train, hessian, table = (part.split()[1] for part in told.split(", "))
    site.ends(train, "FAILED")
    site.ends(hessian, "CANCELLED")
    site.ends(table, "CANCELLED")
