"""jobs/chain.sh on a real Slurm, with the jobs that it submits: training, curvature, table."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from mpi.launch import ALONE, launch
from slurm.account import REPOSITORY, SRUN, Account, hashes, restarts

from mpifl.store import Run
from mpifl.store.measurements import Findings

pytestmark = pytest.mark.xdist_group("slurm")

SWEEP = """
base = "config.toml"
out = "out"
[grid]
rounds = [2]
algorithm = ["scaffold", "fedavg"]
"""


def chain(account: Account, *argv: str, **options: str) -> dict[str, str]:
    """The numbers of the jobs that chain.sh submits."""
    given = (f"{name}={value}" for name, value in options.items())
    told = account.type(SRUN, "env", *given, REPOSITORY / "jobs/chain.sh", *argv)
    return dict(part.split() for part in told.split(", "))


def test_a_chain_trains_with_a_rank_a_gpu_then_measures_the_curvature_then_makes_a_table(
    account, undisturbed
):
    where = "-N2 --gpus-per-node=1 --ntasks-per-node=1"
    jobs = chain(account, "config.toml", "run", "rounds=2", TRAIN=where, HESSIAN="-c1")
    assert list(jobs) == ["train", "hessian", "table"]
    for job in jobs.values():
        account.ends(job, "COMPLETED")
    run = Run.open(account.folder / "run")
    assert run.provenance["host"] == ["n1", "n1", "n2"]
    assert hashes(run.path) == undisturbed(2)
    assert (run.path / "hessian.h5").exists()
    assert "λ_max" in (run.path / "table.md").read_text()


def test_a_wrong_option_fails_the_job_and_says_so_once_and_the_chain_ends(account):
    jobs = chain(account, "config.toml", "run", "local.epoch=1", TRAIN="-n1")
    [ended] = account.ends(jobs["train"], "FAILED")
    assert (restarts(ended), ended["ExitCode"]) == (0, "2:0")
    assert account.log().count("local.epoch: unknown key; did you mean epochs?") == 1
    account.ends(jobs["hessian"], "CANCELLED")
    account.ends(jobs["table"], "CANCELLED")
    assert not (account.folder / "run").exists()


@pytest.mark.long
def test_a_chain_over_a_sweep_trains_what_is_missing_and_ends_in_a_table_of_all_that_are_done(
    account,
):
    (account.folder / "sweep.toml").write_text(SWEEP)
    account.type(SRUN, "mpifl", "sweep", "sweep.toml", "--task", "1")
    jobs = chain(account, "--sweep", "sweep.toml", "table.md", TRAIN="-n2", HESSIAN="-c1")
    for job in jobs.values():
        account.ends(job, "COMPLETED")
    scaffold, fedavg = (
        account.folder / f"out/rounds=2_{method}" for method in ("scaffold", "fedavg")
    )
    assert Run.open(scaffold).status == "complete"
    assert (scaffold / "hessian.h5").exists()
    assert not (fedavg / "hessian.h5").exists()  # it was not missing
    table = (account.folder / "table.md").read_text()
    assert ("scaffold" in table.lower(), "fedavg" in table.lower(), "λ_max" in table) == (
        True,
        True,
        True,
    )


@pytest.mark.long
def test_a_measurement_of_curvature_cut_short_queues_itself_again_and_ends_in_the_same_bits(
    account, alone
):
    run, whole = account.folder / "run", account.folder / "whole"
    for folder in (run, whole):
        shutil.copytree(alone, folder)
    what = ("--rounds", "10,20,30,40,50,60")
    job = account.sbatch("-c1", "hessian.sbatch", run, *what)
    account.says("round 20 global")
    account.cluster.command("scancel", "--batch", "--signal=USR1", job)
    assert launch(ALONE, 1, REPOSITORY / "analysis/hessian.py", whole, *what).returncode == 0
    [ended] = account.ends(job, "COMPLETED")
    assert restarts(ended) >= 1
    assert account.log().count("round 10 global eigenvalues") == 1
    found, expected = (Findings.open(folder).found for folder in (run, whole))
    assert found.keys() == expected.keys()
    for path, finding in expected.items():
        for name, array in finding.arrays.items():
            np.testing.assert_array_equal(found[path][name], array, f"{path}/{name}")
