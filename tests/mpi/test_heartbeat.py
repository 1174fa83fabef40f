"""A rank that dies or falls silent ends the others, wherever they are, under a launcher that does
nothing about it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from mpi.launch import environment, launch, mpirun
from mpi.running import begun, ended, kill, ranks_of, wait_for_rounds, wait_until, written

from mpifl.parallel.heartbeat_tcp import Lines

PROGRAM = Path(__file__).parent / "programs" / "dying.py"
IDLE = ["sh", "-c", '"$@"; sleep 60', "sh"]
"""what a launcher is to start in a rank's place: it sees none die, then"""


LOSSES = [
    (0, "killed"),
    (1, "killed"),
    (1, "gone"),
    (1, "stopped"),
    (0, "hangs"),
    (1, "hangs"),
    (1, "astray"),
]
LOSSES += [(0, "leaves"), (1, "leaves"), (0, "late"), (1, "late")]
SAID = {
    "stopped": "gave no sign of life",
    "hangs": "gave no sign of life",
    "leaves": "has ended before its time",
}


@pytest.mark.parametrize(
    ("mpi", "rank", "how"),
    [
        *(("mpich", *loss) for loss in LOSSES),
        *(("openmpi", 1, how) for how in ("killed", "hangs", "astray", "leaves")),
    ],
)
def test_ranks_inside_mpi_end_when_another_is_lost_though_the_launcher_leaves_them(
    tmp_path, mpi, rank, how
):
    *start, python = mpirun(mpi, 3)
    command = [*start, *IDLE, python, str(PROGRAM), str(rank), how]
    folder = tmp_path / f"{rank}.{how}"
    with subprocess.Popen(
        command, env=environment(mpi), cwd=tmp_path, start_new_session=True
    ) as job:
        try:
            wait_until((folder / "time").is_file)
            others = [pid for r, pid in told(folder) if r != rank]
            wait_until(
                lambda: not any(map(runs, others)),
                seconds=5 if how in ("killed", "gone", "late") else 10,
            )
            assert job.poll() is None
        finally:
            for _, pid in told(folder):
                kill(pid, signal.SIGKILL)
            os.killpg(job.pid, signal.SIGTERM)  # one that is stopped would not heed it
            job.wait(10)
    first = 0 if rank or how == "hangs" else 1
    what = f"rank {rank} on {socket.gethostname()} {SAID.get(how, 'has died, or was killed')}"
    said = {r: text for (r, _), text in told(folder).items()}
    if how == "late":
        assert not any(said.values())
        return
    assert (
        f"mpifl: rank {first}: {'all ranks wait inside MPI' if how == 'astray' else what}"
        in said.pop(first)
    )
    if first == 0:
        assert not said[2]  # once is enough
    if (rank, how) == (1, "hangs"):
        assert "in happen" in said[1]  # where it hung


def told(folder: Path) -> dict[tuple[int, int], str]:
    """(rank, process id) -> what it has said."""
    files = [path for path in folder.iterdir() if path.name != "time"]
    return {tuple(map(int, path.name.split("."))): path.read_text() for path in files}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZXT"
    except OSError:
        return False


def test_a_signal_to_a_worker_that_cannot_reach_the_server_stops_all_and_the_server_has_said_so(
    tmp_path,
):
    config, out = written(tmp_path, rounds=10_000), tmp_path / "run"
    with begun(
        config, out, 3, "runtime.grace_seconds=0", program=[str(PROGRAM.with_name("apart.py"))]
    ) as process:
        wait_for_rounds(out, 2, process)
        os.kill(ranks_of(out)[2], signal.SIGTERM)
        code, output = ended(process)
    assert code == 75
    assert "stopped by a signal to rank 2 after round" in output
    assert (
        f"mpifl: 2 of 3 ranks, the first of them rank 1 on {socket.gethostname()}, cannot reach rank 0"
        in output
    )


def test_a_port_scan_or_a_browser_at_the_servers_port_keeps_no_worker_out():
    secret, strangers = [], [b"", b"GET / HTTP/1.1\r\n\r\n", b"t" * 16 + b"\0\0\0\1"]

    class Two:
        rank, size = 0, 2

        def allgather(self, own):
            secret.append(own[1])
            return [own, own]

    lines = Lines(Two(), 4)
    [(port, _, key)] = secret
    ends = [
        socket.create_connection(("localhost", port))
        for _ in (*strangers, "a silent one", "the worker")
    ]
    for end, words in zip(ends, [*strangers, b"", key + b"\0\0\0\1"], strict=True):
        end.sendall(words)
    ends[0].close()
    for _ in range(20):
        list(lines.wait(0.01))
    lines.send(b"beat")
    ends[-1].settimeout(1)
    assert ends[-1].recv(8) == b"!beat"
    assert [end.recv(8) for end in ends[1:3]] == [b"", b""]
    ends[-1].close()
    assert [*lines.wait(1)] == [(1, b"")]
    for end in ends:
        end.close()
    lines.close()


def test_ranks_that_end_in_order_may_take_their_time(tmp_path):
    done = launch("mpich", 3, PROGRAM.with_name("unhurried.py"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_rank_whose_mpi_never_starts_ends(tmp_path):
    """One of two ranks never starts it, so the other would wait."""
    code = "from mpifl.parallel import launcher; launcher.START_SECONDS = 3; import mpifl.parallel.communicator"
    mpi, _, _, python = mpirun("mpich", 2)
    command = [mpi, "-n", "1", python, "-c", code, ":", "-n", "1", "sleep", "30"]
    done = subprocess.run(
        command, env=environment("mpich"), capture_output=True, text=True, timeout=20
    )
    assert done.returncode != 0
    assert "mpi.py" in done.stderr


def test_a_rank_on_a_node_that_lacks_a_library_ends_the_others(tmp_path):
    (tmp_path / "h5py.py").write_text(LACKING)
    environment = {"PYTHONPATH": str(tmp_path)}
    done = launch(
        "mpich", 2, "-m", "mpifl", "run", written(tmp_path), cwd=tmp_path, env=environment
    )
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
