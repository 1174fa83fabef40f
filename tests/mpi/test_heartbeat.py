"""A rank that dies, hangs or leaves ends the others though they wait inside MPI, and though the
launcher does nothing about it.

tests/parallel/test_monitor.py has more cases, without MPI.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mpi.launch import MPIS, environment, launch, mpirun
from mpi.running import (
    begun,
    ended,
    kill,
    ranks_of,
    wait_for_line,
    wait_for_rounds,
    wait_until,
    written,
)

PROGRAMS = Path(__file__).parent / "programs"
LAUNCHED = ["sh", "-c", '"$@"; sleep 600', "sh"]
"""what the launcher starts in a rank's place: it sees no rank end"""
SAID = {
    "killed": f"rank 1 on {socket.gethostname()} has died, or was killed",
    "hangs": f"rank 1 on {socket.gethostname()} has not reported for ",
    "astray": "all ranks wait inside MPI, each for more than 2 s",
    "leaves": f"rank 1 on {socket.gethostname()} ended early; this rank still waits for it",
}
"""how rank 1 fails, and what rank 0 says of it"""
SHORT = {"MPIFL_TIMEOUTS": "beat=0.2 margin=2 early=2 react=0.5 close=1"}


class Jobs(NamedTuple):
    """The folder of all jobs of one launch."""

    folder: Path

    def wait_for_end(self, how: str, rank: int) -> None:
        wait_until(lambda: not runs(self.pid(how, rank)))

    def pid(self, how: str, rank: int) -> int:
        return int((self.folder / f"{how}.{rank}.pid").read_text())

    def stderr(self, how: str, rank: int) -> str:
        return (self.folder / f"{how}.{rank}.stderr").read_text()


@pytest.fixture(scope="module", params=MPIS)
def jobs(request, tmp_path_factory) -> Iterator[Jobs]:
    """One launch, of a job of two ranks for each case, running."""
    mpi, folder = request.param, tmp_path_factory.mktemp("jobs")
    *start, python = mpirun(mpi, 2 * len(SAID), afresh=True)
    program = [python, str(PROGRAMS / "dying.py"), str(folder), *SAID]
    with subprocess.Popen(
        [*start, *LAUNCHED, *program], env=environment(mpi, SHORT), start_new_session=True
    ) as process:
        try:
            wait_until(lambda: len(list(folder.glob("*.stderr"))) == 2 * len(SAID))
            yield Jobs(folder)
        finally:
            for path in folder.glob("*.pid"):
                kill(int(path.read_text()), signal.SIGKILL)
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


@pytest.mark.parametrize("how", SAID)
def test_a_rank_waiting_inside_mpi_ends_and_names_the_one_that_fails(jobs, how):
    jobs.wait_for_end(how, 0)
    assert f"mpifl: rank 0: {SAID[how]}" in jobs.stderr(how, 0)


def test_a_rank_that_hangs_prints_where_before_it_is_ended(jobs):
    jobs.wait_for_end("hangs", 1)
    assert "in fail" in jobs.stderr("hangs", 1)


def runs(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def test_a_signal_to_a_worker_that_cannot_reach_the_server_stops_all_and_the_server_has_said_so(
    tmp_path,
):
    config, out = written(tmp_path, rounds=10_000), tmp_path / "run"
    first = f"rank 1 on {socket.gethostname()}"
    with begun(
        config, out, 3, "runtime.grace_seconds=0", program=[str(PROGRAMS / "apart.py")]
    ) as process:
        wait_for_line(
            f"mpifl: 2 of 3 ranks, the first of them {first}, cannot reach rank 0", process
        )
        wait_for_rounds(out, 2, process)
        os.kill(ranks_of(out)[2], signal.SIGTERM)
        code, output = ended(process)
    assert code == 75
    assert "stopped by a signal to rank 2 after round" in output


def test_a_slow_disk_ends_no_run(tmp_path):
    config, out = written(tmp_path), tmp_path / "run"
    options = ["--out", out, "rounds=4", "runtime.patience_minutes=0.05"]
    done = launch("mpich", 2, PROGRAMS / "slow_disk.py", "9", "run", config, *options)
    assert done.returncode == 0, done.stderr


def test_ranks_that_end_in_order_may_take_their_time():
    done = launch("mpich", 2, PROGRAMS / "unhurried.py", env={"MPIFL_TIMEOUTS": "early=0.5"})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_rank_whose_mpi_never_starts_ends(tmp_path):
    """One of two ranks never starts it, so the other would wait."""
    mpi, _, _, python = mpirun("mpich", 2, afresh=True)
    stderr = tmp_path / "stderr"  # mpirun may drop what a rank prints last
    program = [
        "sh",
        "-c",
        'exec "$@" 2>"$0"',
        str(stderr),
        python,
        "-c",
        "import mpifl.parallel.mpi",
    ]
    command = [mpi, "-n", "1", *program, ":", "-n", "1", "sleep", "600"]
    started = environment("mpich", {"MPIFL_TIMEOUTS": "start=1"})
    done = subprocess.run(command, env=started, capture_output=True, text=True, timeout=180)
    assert done.returncode != 0
    assert "mpi.py" in stderr.read_text()


def test_a_rank_on_a_node_that_lacks_a_library_ends_the_others(tmp_path):
    (tmp_path / "h5py.py").write_text(LACKING)
    environment = {"PYTHONPATH": str(tmp_path)}
    command = ("-m", "mpifl", "run", written(tmp_path))
    done = launch("mpich", 2, *command, cwd=tmp_path, env=environment, afresh=True)
    assert done.returncode != 0
    assert "ImportError: not on this node" in done.stderr


LACKING = """
import os, sys

if os.environ["PMI_RANK"] == "1":
    raise ImportError("not on this node")
sys.path = [path for path in sys.path if path != os.environ["PYTHONPATH"]]
del sys.modules["h5py"]
import h5py
"""
