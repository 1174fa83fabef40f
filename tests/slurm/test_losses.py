"""jobs/train.sbatch on a real Slurm where a node, a rank or a client's training is lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from slurm.account import REPOSITORY, Account, hashes, restarts
from slurm.cluster import until

from mpifl.store import Run

pytestmark = pytest.mark.xdist_group("slurm")

LONG = pytest.mark.long


@pytest.mark.parametrize(
    "where", [("-n2",), ("-N2", "--ntasks-per-node=1")], ids=["on one node", "on two"]
)
def test_a_rank_that_is_killed_ends_the_others_and_fails_the_job(account, where):
    """Before srun does: KillWait is two minutes."""
    # on a busy machine rank 0 may need seconds to store that the run has failed
    unhurried = "--export=ALL,MPIFL_TIMEOUTS=react=15 close=15"
    # a round of a second, which is training all but for an instant
    more = ("rounds=1000", "local.epochs=100")
    job = account.sbatch(*where, unhurried, "train.sbatch", "config.toml", "run", *more)
    account.reaches("run", 2)
    _, victim = account.ranks()
    os.kill(victim, signal.SIGKILL)
    account.until("the other's end", lambda: not account.ranks(), 60)
    [ended] = account.ends(job, "FAILED")
    assert restarts(ended) == 0
    assert f"mpifl: rank 0: rank 1 on n{len(where)} has died, or was killed" in account.log()
    assert Run.open(account.folder / "run").status == "failed"


def test_an_exception_in_training_ends_all_ranks_and_names_rank_round_and_client(account):
    """The client of round 2 that fails is played by one of the two workers."""
    run = f"{sys.executable} {REPOSITORY}/tests/mpi/programs/failing.py raise config.toml run"
    launched = f"srun --mpi=pmi2 --kill-on-bad-exit=1 {run}"
    job = account.sbatch("-N3", "--output=%j.log", f"--wrap={launched}")
    account.until("the exception", (account.folder / "run.time").exists)
    account.until("the end of all", lambda: not account.ranks("python"), 60)
    account.ends(job, "FAILED")
    assert "RuntimeError: as asked for" in account.log()
    assert ", round 2, client 3" in account.log()
    assert Run.open(account.folder / "run").status == "failed"


LOSSES = [
    ("srun, MPICH", "-n2", "hangs", "before"),
    pytest.param("mpirun, MPICH", "-N2", "dies", "after", marks=LONG),
    pytest.param("mpirun, MPICH", "-N2", "dies", "never", marks=LONG),
    pytest.param("srun, MPICH", "-n2", "hangs", "never", marks=LONG),
    pytest.param("srun, MPICH", "-N2", "dies", "before", marks=LONG),
    pytest.param("srun, MPICH", "-N2", "dies", "never", marks=LONG),
    pytest.param("srun, Open MPI", "-N2", "dies", "after", marks=LONG),
    pytest.param("mpirun, Open MPI", "-N2", "dies", "after", marks=LONG),
]
"""launcher, nodes, what happens to the last of them, and when Slurm is told: before the job has
queued itself again, after that, or never, so that it finds out"""


@pytest.mark.parametrize(("launcher", "where", "what", "told"), LOSSES)
def test_a_job_goes_on_elsewhere_when_a_node_is_lost_and_its_ghost_writes_nothing_more(
    account, undisturbed, launcher, where, what, told
):
    run = account.folder / "run"
    job = account.sbatch(where, "train.sbatch", "config.toml", "run", launcher=launcher)
    account.reaches("run", 1)
    lost = account.nodes(job)[-1]
    account.reaches("run", 5)
    ghost = lose(account, lost, hangs=what == "hangs")
    if told == "after":
        account.says(f"no answer from {lost}\njobs: queued again")
        # one that starts again in the second in which it ended has a "credential revoked", to Slurm
        time.sleep(2)
    if told != "never":
        account.cluster.command(
            "scontrol", "update", f"nodename={lost}", "state=down", "reason=lost"
        )
    [ended] = account.ends(job, "COMPLETED")
    assert restarts(ended) >= 1
    assert lost not in account.nodes(job)
    assert hashes(run) == undisturbed()
    if ghost:
        wake(account, lost, ghost)
    account.cluster.start_node(lost)


def lose(account: Account, node: str, hangs: bool) -> list[int]:
    """A node is gone, with all that runs there; or it hangs: its daemon is gone, and the ranks that
    are left stand.
    """
    if not hangs:
        account.cluster.kill_node(node)
        return []
    ghost = account.cluster.processes(node, "mpifl")
    for rank in ghost:
        os.kill(rank, signal.SIGSTOP)
    account.cluster.kill_daemon(node)
    return ghost


def wake(account: Account, node: str, ghost: list[int]) -> None:
    """The ranks of a job that has ended elsewhere go on: they end, and the run stays as it is."""

    def files() -> dict[Path, bytes]:
        found = account.folder.glob("run/**/*")
        return {path: path.read_bytes() for path in found if path.is_file()}

    before = files()
    for rank in ghost:
        os.kill(rank, signal.SIGCONT)
    until("the ghost's end", lambda: not account.cluster.processes(node, "mpifl"))
    assert files() == before
