"""jobs/train.sbatch on a real Slurm: on many nodes, cut short, cancelled, wrong, and on a node that is lost."""

from __future__ import annotations

import os
import signal

import pytest
from slurm.account import hashes
from slurm.cluster import until

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
    account.reaches("run", 3)
    account.cluster.command("scancel", "--batch", "--signal=USR1", job)  # what --signal=B:USR1@180 does before the end
    [ended] = account.ends(job, "COMPLETED")
    run = Run.open(account.folder / "run")
    assert (ended["Restarts"], run.status, len(run.resumes)) == ("1", "complete", 1)
    assert run.provenance["host"] == ["n1"] * tasks + ["n2"] * tasks
    assert hashes(run.path) == undisturbed()
    assert "stopped by SIGUSR1" in account.log()


def test_a_job_that_is_warned_before_its_ranks_can_hear_goes_on_all_the_same(account, undisturbed):
    job = account.sbatch("-n2", "train.sbatch", "config.toml", "run")
    until("the launch", lambda: "mpifl run" in account.log())
    account.cluster.command("scancel", "--batch", "--signal=USR1", job)
    [ended] = account.ends(job, "COMPLETED")
    assert ended["Restarts"] == "1"
    assert hashes(account.folder / "run") == undisturbed()


def test_a_job_near_its_time_limit_goes_on_in_another(account, undisturbed):
    """Of a minute there are up to 40 seconds before the warning, for Slurm signals up to a minute early."""
    more = ("--time=1", "--signal=B:USR1@20", "-n2")
    job = account.sbatch(*more, "train.sbatch", "config.toml", "run", "rounds=100_000")
    until("another", lambda: account.cluster.jobs(job)[0]["Restarts"] != "0" and account.rounds("run"), 120)
    account.reaches("run", account.rounds("run") + 5)
    account.cluster.command("scancel", job)
    account.ends(job, "CANCELLED")
    run = Run.open(account.folder / "run")
    assert len(run.resumes) >= 1
    assert hashes(run.path) == undisturbed(f"rounds={len(run.rounds['round'])}")


def test_with_gpus_there_is_a_rank_for_each_and_the_server(account, undisturbed):
    where = ("-N2", "--gpus-per-node=1", "--ntasks-per-node=1")
    account.ends(account.sbatch(*where, "train.sbatch", "config.toml", "run", "rounds=2"), "COMPLETED")
    run = Run.open(account.folder / "run")
    assert run.provenance["host"] == ["n1", "n1", "n2"]
    assert hashes(run.path) == undisturbed()[:2]


def test_a_cancelled_job_stays_cancelled_and_the_same_command_goes_on(account, undisturbed):
    job = account.sbatch("-n2", "train.sbatch", "config.toml", "run")
    account.reaches("run", 3)
    account.cluster.command("scancel", job)
    [ended] = account.ends(job, "CANCELLED")
    assert ended["Restarts"] == "0"
    assert Run.open(account.folder / "run").status == "stopped"
    account.ends(account.sbatch("-n1", "train.sbatch", "config.toml", "run"), "COMPLETED")
    assert hashes(account.folder / "run") == undisturbed()


def test_a_wrong_option_fails_the_job_and_says_so_once(account):
    [ended] = account.ends(account.sbatch("-n1", "train.sbatch", "config.toml", "run", "local.epoch=1"), "FAILED")
    assert (ended["Restarts"], ended["ExitCode"]) == ("0", "2:0")
    assert account.log().count("local.epoch: unknown key; did you mean epochs?") == 1
    assert not (account.folder / "run").exists()


@pytest.mark.parametrize("where", [("-n2",), ("-N2", "--ntasks-per-node=1")], ids=["on one node", "on two"])
def test_a_rank_that_is_killed_ends_the_others_and_fails_the_job(account, where):
    """Long before srun does: KillWait is 20 seconds."""
    cluster = account.cluster
    more = ("rounds=1000", "local.epochs=100")  # a round of a second, which is training all but for an instant
    job = account.sbatch(*where, "train.sbatch", "config.toml", "run", *more)
    account.reaches("run", 2)
    _, victim = everywhere(cluster)
    os.kill(victim, signal.SIGKILL)
    until("the other's end", lambda: not everywhere(cluster), 5)
    [ended] = account.ends(job, "FAILED")
    assert ended["Restarts"] == "0"
    assert f"mpifl: rank 0: rank 1 on n{len(where)} has died, or was killed" in account.log()
    assert Run.open(account.folder / "run").status == "failed"


def everywhere(cluster) -> list[int]:
    """The ranks of the only job, in order."""
    return [process for node in cluster.nodes for process in sorted(cluster.processes(node, "mpifl"))]


@pytest.mark.parametrize("told", [True, pytest.param(False, marks=LONG)])
def test_a_job_on_a_lost_node_goes_on_elsewhere_and_its_ghost_writes_nothing_more(account, undisturbed, told):
    """The node hangs and its daemon is gone; Slurm is told, or finds out. When the run is done, the node wakes up."""
    cluster, run = account.cluster, account.folder / "run"
    job = account.sbatch("-n2", "train.sbatch", "config.toml", "run")
    account.reaches("run", 5)
    lost = cluster.jobs(job)[0]["NodeList"]
    ghost = cluster.processes(lost, "mpifl")
    assert len(ghost) == 2
    for rank in ghost:
        os.kill(rank, signal.SIGSTOP)
    cluster.kill_daemon(lost)
    if told:
        cluster.command("scontrol", "update", f"nodename={lost}", "state=down", "reason=lost")
    [ended] = account.ends(job, "COMPLETED")
    assert (ended["Restarts"], ended["NodeList"] != lost) == ("1", True)
    assert hashes(run) == undisturbed()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for rank in ghost:
        os.kill(rank, signal.SIGCONT)
    until("the ghost's end", lambda: not cluster.processes(lost, "mpifl"))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    cluster.start_node(lost)
