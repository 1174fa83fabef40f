"""A user of the cluster: a folder, what is typed there, and how the runs in it get on."""

from __future__ import annotations

import getpass
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mpi.launch import environment, plain
from mpi.running import kill
from slurm.cluster import Cluster, Job, until

from mpifl.options import BadInput
from mpifl.store import Run

REPOSITORY = Path(__file__).parents[2]
# "hosts" of one machine
OPENMPI = {"SRUN_MPI": "pmix", "OMPI_MCA_coll": "^han", "OMPI_MCA_mpi_yield_when_idle": "1"}
SRUN = "srun, MPICH"
LAUNCHERS = {
    SRUN: ("mpich", {}),
    "srun, Open MPI": ("openmpi", OPENMPI),
    "mpirun, MPICH": ("mpich", {"LAUNCHER": "mpirun"}),
    "mpirun, Open MPI": (
        "openmpi",
        OPENMPI | {"LAUNCHER": "mpirun", "MPIRUN": f"{sys.prefix}/openmpi/bin/mpirun"},
    ),
}
"""which MPI, and what a user of jobs/ sets for it"""

CONFIG = {
    "seed": 3,
    "rounds": 60,
    "clients": 6,
    "data": {"name": "digits", "train_limit": 300, "test_limit": 100},
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "model": {"name": "mlp", "hidden": [64]},
    "algorithm": {"name": "scaffold"},
    "local": {"lr": 0.05, "batch": 8, "epochs": 3, "momentum": 0.5, "momentum_state": "persist"},
    "results": {"checkpoint_rounds": 5, "commit_seconds": 0.0},
}
"""a run of seconds whose clients and server remember something"""
MORE_ROUNDS = 120
"""so many take more than the five seconds in which a job's warning comes again"""


TORN = "mpi/pmi2: invalid client request"
"""what Slurm's daemon says then, in one of some hundred starts"""


class Account:
    """A user's folder on the cluster, and what the user types."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder

    def type(self, launcher: str, *argv: str | Path) -> str:
        """The output of a command, typed where `launcher` is what jobs are to use."""
        mpi, site = LAUNCHERS[launcher]
        own = {"MPIFL_JOBS": str(REPOSITORY / "jobs"), "VENV": sys.prefix}
        known = {
            k: v
            for k, v in environment(mpi, own | site).items()
            if k != "PRTE_MCA_rmaps_default_mapping_policy"
        }
        return self.cluster.command(*argv, env=known, cwd=self.folder)

    def sbatch(self, *argv: str | Path, launcher: str = SRUN) -> str:
        """The number of the job that `sbatch argv` submits; its files of jobs/ are named without
        the folder.
        """
        paths = [
            REPOSITORY / "jobs" / word if str(word).endswith(".sbatch") else word for word in argv
        ]
        return self.type(launcher, "sbatch", "--parsable", *paths)

    def log(self, pattern: str = "*.log") -> str:
        """What jobs have printed."""
        return "".join(plain(path.read_bytes()) for path in sorted(self.folder.glob(pattern)))

    def says(self, words: str, timeout: float = 300) -> None:
        """Wait until a job's log says something."""
        self.until(f"{words!r} in the log", lambda: words in self.log(), timeout)

    def ends(self, job: str, *states: str, timeout: float = 600) -> list[Job]:
        """The job, or the array's tasks, at its end; fails the test, with the log, where the states
        are others.
        """
        self.until(f"the end of job {job}", lambda: self.cluster.has_ended(job), timeout)
        jobs = self.cluster.jobs(job)
        ended = [one["JobState"] for one in jobs]
        if ended != list(states):
            self.skip_if_torn()
        assert ended == list(states), f"{ended}\n{self.log()}"
        return jobs

    def nodes(self, job: str) -> list[str]:
        """Where a job runs, or ran last."""
        return self.cluster.command(
            "scontrol", "show", "hostnames", self.cluster.jobs(job)[0]["NodeList"]
        ).split()

    def ranks(self, name: str = "mpifl") -> list[int]:
        """The processes of the only job, in the order of their ranks."""
        return [
            rank
            for node in self.cluster.nodes
            for rank in sorted(self.cluster.processes(node, name))
        ]

    def reaches(self, run: str, rounds: int, timeout: float = 300) -> None:
        """Wait until a run in the folder has got so far."""
        self.until(f"round {rounds}", lambda: self.rounds(run) >= rounds, timeout)

    def until(self, what: str, holds: Callable[[], object], timeout: float = 300) -> None:
        """Wait until something holds that jobs bring about; fails the test, with the log, if it
        takes too long.
        """

        def holds_or_is_torn() -> bool:
            if holds():
                return True
            self.skip_if_torn()
            return False

        try:
            until(what, holds_or_is_torn, timeout)
        except RuntimeError as late:
            pytest.fail(f"{late}\n{self.log()}")

    def skip_if_torn(self) -> None:
        """Skip the test where it was Slurm that tore MPICH's first words to it apart."""
        if TORN not in self.log():
            return
        self.cluster.command("scancel", f"--user={getpass.getuser()}")
        torn = "; ".join(line for line in self.log().splitlines() if "mpi/pmi2" in line)
        pytest.skip(
            "Slurm's pmi2 plugin read half a request of MPICH's, so the job never got out of "
            f"MPI_Init: {torn}"
        )

    def warn(self, job: str, run: str, rounds: int) -> None:
        """Do in the midst of a run what `--signal=B:USR1@180` does before the time limit.

        The ranks stand until the job's script has heard, so that they cannot be done before.
        """
        self.reaches(run, rounds)
        ranks = self.ranks()
        for rank in ranks:
            kill(rank, signal.SIGSTOP)
        self.cluster.command("scancel", "--batch", "--signal=USR1", job)
        self.says("the end is near")
        for rank in ranks:
            kill(rank, signal.SIGCONT)

    def rounds(self, run: str) -> int:
        """How many rounds a run in the folder has on disk."""
        try:
            return len(Run.open(self.folder / run).rounds["round"])
        except BadInput:
            return 0


def restarts(job: Job) -> int:
    """How often a job has started again."""
    return int(job["Restarts"])


def hashes(run: Path) -> list[str]:
    """The SHA-256 of the weights after each round."""
    return Run.open(run).rounds["sha256"].tolist()
