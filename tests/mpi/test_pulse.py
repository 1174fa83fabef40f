"""A rank that dies or falls silent ends the others, wherever they are, under a launcher that does nothing about it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from mpi.launch import MPIS, environment, launch, mpirun
from mpi.running import kill, wait_until

from mpifl.lines import _greeted

PROGRAM = Path(__file__).parent / "programs" / "dying.py"
IDLE = ["sh", "-c", '"$@"; sleep 60', "sh"]
"""what a launcher is to start in a rank's place: it sees none die, then"""


@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.parametrize(
    ("rank", "how"),
    [(0, "killed"), (1, "killed"), (1, "gone"), (1, "stopped"), (0, "hangs"), (1, "hangs"), (1, "astray")],
)
def test_ranks_inside_mpi_end_when_another_is_lost_though_the_launcher_leaves_them(tmp_path, mpi, rank, how):
    *start, python = mpirun(mpi, 3)
    command = [*start, *IDLE, python, str(PROGRAM), str(rank), how]
    with subprocess.Popen(command, env=environment(mpi), cwd=tmp_path, start_new_session=True) as job:
        try:
            folder = tmp_path / f"{rank}.{how}"
            wait_until((folder / "time").is_file)
            wait_until(lambda: not any(map(runs, told(folder))), seconds=5 if how in ("killed", "gone") else 10)
            assert job.poll() is None
        finally:
            for pid in told(folder):
                kill(pid, signal.SIGKILL)
            os.killpg(job.pid, signal.SIGTERM)  # one that is stopped would not heed it
            job.wait(10)
    name, first = f"rank {rank} on {socket.gethostname()}", min({0, 1} - {rank})
    what = {"stopped": f"{name} gave no sign", "hangs": f"{name} gave no sign", "astray": "all ranks wait inside MPI, "}
    [line] = told(folder, first)[first].splitlines()
    assert line.startswith(f"mpifl: rank {first}: {what.get(how, f'{name} has died, or was killed')}")
    if how == "hangs":
        assert "in happen" in told(folder, rank)[rank]  # where it hung


def told(folder: Path, *ranks: int) -> dict[int, str]:
    """What ranks have said, by process id; or by rank, for some."""
    files = [path for path in folder.iterdir() if path.name != "time"]
    known = {tuple(map(int, path.name.split("."))): path.read_text() for path in files}
    return {rank if ranks else pid: text for (rank, pid), text in known.items() if not ranks or rank in ranks}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZXT"
    except OSError:
        return False


def test_a_server_that_cannot_be_reached_says_so_and_the_job_goes_on(tmp_path):
    done = launch("mpich", 3, PROGRAM, 0, "unreachable", cwd=tmp_path)
    assert done.returncode == 0
    [line] = filter(None, told(tmp_path / "0.unreachable").values())
    assert line.startswith(f"mpifl: 2 of 3 ranks, the first of them rank 1 on {socket.gethostname()}, cannot")


@pytest.mark.parametrize(
    ("words", "rank"),
    [(b"s" * 16 + b"\0\0\1\2", 258), (b"t" * 16 + b"\0\0\1\2", 0), (b"GET / HTTP/1.1\r\n\r\n", 0), (b"", 0)],
    ids=["a worker", "another job's", "a browser", "a port scan"],
)
def test_who_does_not_know_the_secret_is_turned_away(words, rank):
    own, other = socket.socketpair()
    with own, other:
        other.sendall(words)
        other.shutdown(socket.SHUT_WR)
        assert _greeted(own, b"s" * 16) == rank
        assert (own.fileno() == -1) == (rank == 0)


def test_a_rank_whose_mpi_never_starts_ends(tmp_path):
    """One of two ranks never starts it, so the other would wait."""
    code = "from mpifl import launching; launching.START_SECONDS = 3; import mpifl.federation"
    mpi, _, _, python = mpirun("mpich", 2)
    command = [mpi, "-n", "1", python, "-c", code, ":", "-n", "1", "sleep", "30"]
    done = subprocess.run(command, env=environment("mpich"), capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "federation.py" in done.stderr
