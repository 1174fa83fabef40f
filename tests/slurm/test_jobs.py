"""jobs/train.sbatch on a real Slurm: on many nodes, cut short, and cancelled."""

from __future__ import annotations

import os
import re
import signal

import pytest
from mpi.running import kill
from slurm.account import MORE_ROUNDS, hashes, restarts

from mpifl.store import Run

pytestmark = pytest.mark.xdist_group("slurm")

LONG = pytest.mark.long
STARTS = [
    ("srun, MPICH", 2),
    ("mpirun, Open MPI", 1),
    pytest.param("srun, Open MPI", 2, marks=LONG),
    pytest.param("mpirun, MPICH", 2, marks=LONG),
]
"""launchers, and ranks a node"""


@pytest.mark.parametrize(("launcher", "tasks"), STARTS)
def test_a_job_cut_short_on_two_nodes_queues_itself_again_and_ends_in_the_same_bits(
    account, undisturbed, launcher, tasks
):
    where = ("-N2", f"--ntasks-per-node={tasks}")
    job = account.sbatch(*where, "train.sbatch", "config.toml", "run", launcher=launcher)
    account.warn(job, "run", rounds=3)
    [ended] = account.ends(job, "COMPLETED")
    run = Run.open(account.folder / "run")
    assert restarts(ended) >= 1
    assert run.status == "complete"
    assert len(run.resumes) >= 1
    assert run.provenance["host"] == ["n1"] * tasks + ["n2"] * tasks
    assert hashes(run.path) == undisturbed()
    assert "stopped by SIGUSR1" in account.log()
    assert stopped_with_75(account)


def test_a_job_that_is_warned_before_its_ranks_can_hear_goes_on_all_the_same(account, undisturbed):
    """In the same job where the warning comes too early to reach any rank, else in another."""
    job = account.sbatch("-n2", "train.sbatch", "config.toml", "run", f"rounds={MORE_ROUNDS}")
    account.says("mpifl run")
    account.cluster.command("scancel", "--batch", "--signal=USR1", job)
    account.ends(job, "COMPLETED")
    assert hashes(account.folder / "run") == undisturbed(MORE_ROUNDS)


@pytest.mark.long
def test_a_job_near_its_time_limit_goes_on_in_another(account, undisturbed):
    """Of a minute there are up to 40 seconds before the warning, for Slurm signals up to a minute
    early; it waits. Long, because Slurm knows no shorter limit, and a busy machine may need all of
    it to start. Other tests send the same warning when the run has come far enough.
    """
    job = account.sbatch(
        "--time=1", "--signal=B:USR1@20", "-n2", "train.sbatch", "config.toml", "run"
    )
    account.reaches("run", 3)
    ranks = account.ranks()
    for rank in ranks:
        os.kill(rank, signal.SIGSTOP)
    account.says("the end is near")
    for rank in ranks:
        os.kill(rank, signal.SIGCONT)
    [ended] = account.ends(job, "COMPLETED")
    assert restarts(ended) >= 1
    assert len(Run.open(account.folder / "run").resumes) >= 1
    assert stopped_with_75(account)
    assert hashes(account.folder / "run") == undisturbed()


def test_a_cancelled_job_stays_cancelled_and_the_same_command_goes_on(account, undisturbed):
    job = account.sbatch("-n2", "train.sbatch", "config.toml", "run")
    account.reaches("run", 3)
    for rank in account.ranks():
        kill(rank, signal.SIGSTOP)  # until Slurm has got round to it, which then wakes them
    account.cluster.command("scancel", job)
    [ended] = account.ends(job, "CANCELLED")
    assert restarts(ended) == 0
    assert Run.open(account.folder / "run").status == "stopped"
    assert stopped_with_75(account)
    account.ends(account.sbatch("-n1", "train.sbatch", "config.toml", "run"), "COMPLETED")
    assert hashes(account.folder / "run") == undisturbed()


def stopped_with_75(account) -> bool:
    """A rank has; srun may kill the others for it while they end, and then returns 143."""
    ended = r"task 0: Exited with exit code 75|is stopped; mpirun ended with 75"
    return bool(re.search(ended, account.log()))
