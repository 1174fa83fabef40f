"""jobs/train.sbatch on a real Slurm: on many nodes, cut short, cancelled, wrong, and on a node that is lost."""

from __future__ import annotations

import pytest
from slurm.conftest import LAUNCHERS, hashes

from mpifl.store import Run

pytestmark = pytest.mark.xdist_group("slurm")

SLOW = {"srun, Open MPI", "mpirun, MPICH"}
EACH_LAUNCHER = [pytest.param(name, marks=[pytest.mark.long] if name in SLOW else []) for name in LAUNCHERS]


@pytest.mark.parametrize("launcher", EACH_LAUNCHER)
def test_a_job_cut_short_on_two_nodes_queues_itself_again_and_ends_in_the_same_bits(site, undisturbed, launcher):
    job = site.sbatch("-N2", "--ntasks-per-node=2", "train.sbatch", "config.toml", "run", launcher=launcher)
    site.reaches("run", 3)
    site.cluster.command("scancel", "--batch", "--signal=USR1", job)  # what --signal=B:USR1@180 does before the end
    [ended] = site.ends(job, "COMPLETED")
    run = Run.open(site.folder / "run")
    assert (ended["Restarts"], run.status, len(run.resumes)) == ("1", "complete", 1)
    assert run.provenance["host"] == ["n1", "n1", "n2", "n2"]
    assert hashes(run.path) == undisturbed()
    assert "stopped by SIGUSR1" in site.log()


@pytest.mark.long
def test_a_job_that_reaches_its_time_limit_goes_on_in_another(site, undisturbed):
    """Of two minutes there are 20 to 80 seconds before the warning, for Slurm signals up to a minute early."""
    rounds = "rounds=600"
    job = site.sbatch("--time=2", "--signal=B:USR1@40", "-n2", "train.sbatch", "config.toml", "run", rounds)
    [ended] = site.ends(job, "COMPLETED", timeout=900)
    assert int(ended["Restarts"]) == len(Run.open(site.folder / "run").resumes) >= 1
    assert hashes(site.folder / "run") == undisturbed(rounds)


def test_with_gpus_there_is_a_rank_for_each_and_the_server(site, undisturbed):
    where = ("-N2", "--gpus-per-node=2", "--ntasks-per-node=2")
    site.ends(site.sbatch(*where, "train.sbatch", "config.toml", "run", "rounds=2"), "COMPLETED")
    run = Run.open(site.folder / "run")
    assert run.provenance["host"] == ["n1", "n1", "n1", "n2", "n2"]
    assert hashes(run.path) == undisturbed()[:2]


def test_a_cancelled_job_stays_cancelled_and_the_same_command_goes_on(site, undisturbed):
    job = site.sbatch("-n2", "train.sbatch", "config.toml", "run")
    site.reaches("run", 3)
    site.cluster.command("scancel", job)
    [ended] = site.ends(job, "CANCELLED")
    assert ended["Restarts"] == "0"
    assert Run.open(site.folder / "run").status == "stopped"
    site.ends(site.sbatch("-n3", "train.sbatch", "config.toml", "run"), "COMPLETED")
    assert hashes(site.folder / "run") == undisturbed()


def test_a_wrong_option_fails_the_job_and_says_so_once(site):
    [ended] = site.ends(site.sbatch("-n1", "train.sbatch", "config.toml", "run", "local.epoch=1"), "FAILED")
    assert (ended["Restarts"], ended["ExitCode"]) == ("0", "2:0")
    assert site.log().count("local.epoch: unknown key; did you mean epochs?") == 1
    assert not (site.folder / "run").exists()


@pytest.mark.parametrize("told", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_job_on_a_lost_node_goes_on_elsewhere_and_its_ghost_writes_nothing_more(site, undisturbed, told):
    """The node's daemon is killed, and the run goes on beside it unseen. Slurm is told so, or finds out."""
    slow = ("rounds=100", "local.epochs=10")  # that the ghost lives when its successor comes
    job = site.sbatch("-n2", "train.sbatch", "config.toml", "run", *slow)
    site.reaches("run", 5)
    [before] = site.cluster.jobs(job)
    site.cluster.kill_daemon(before["NodeList"])
    if told:
        site.cluster.command("scontrol", "update", f"nodename={before['NodeList']}", "state=down", "reason=lost")
    [ended] = site.ends(job, "COMPLETED", timeout=300)
    site.cluster.start_node(before["NodeList"])
    assert ended["Restarts"] == "1"
    assert ended["NodeList"] != before["NodeList"]
    assert hashes(site.folder / "run") == undisturbed(*slow)
    assert "taken over" in site.log()
