"""A rank that fails ends the others, which name it; ranks that end in order disturb nobody.

The ranks are processes without MPI; tests/mpi/test_heartbeat.py shows the same inside MPI.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mpifl.parallel.failure_detector import Limit
from mpifl.parallel.monitor import Activity

PROGRAM = Path(__file__).parent / "programs" / "failing_ranks.py"
SIZE = 3
TIMEOUTS = "beat=0.2 margin=1.5 early=2 react=0.5 close=1 end=3"
LIMIT = 300.0
"""seconds to wait for what takes a few on a quiet machine"""

DIED = "has died, or was killed, last seen in round 7 with client 10{rank}"
SILENT = "has not reported for "

FAILURES = [
    (0, "killed", DIED),
    (1, "killed", DIED),
    (1, "gone", DIED),
    (0, "stopped", SILENT),
    (1, "stopped", SILENT),
    (0, "hangs", SILENT),
    (1, "hangs", SILENT),
    (1, "holds", SILENT),
    (1, "raises", "failed, last seen in round 7 with client 101; its traceback says how"),
    (0, "leaves", "ended early; this rank still waits for it"),
    (1, "leaves", "ended early; this rank still waits for it"),
    (0, "late", DIED),
    (1, "late", DIED),
    (1, "lingers", SILENT),
    (1, "last", "ended early; this rank still waits for it"),
]
"""rank, how it fails, what is said of it"""

CASES = [f"{rank}.{how}" for rank, how, _ in FAILURES] + [
    "1.waits",
    "1.unhurried",
    "1.stays",
    "1.mute",
]


class Job(NamedTuple):
    """The files of a job of three ranks."""

    folder: Path

    def code(self, rank: int) -> int:
        """The exit code of a rank, as soon as it has ended."""
        path = self.folder / f"{rank}.code"
        deadline = time.monotonic() + LIMIT
        while not path.exists():
            assert time.monotonic() < deadline, f"rank {rank} has not ended"
            time.sleep(0.02)
        return int(path.read_text())

    def stderr(self, rank: int) -> str:
        return (self.folder / f"{rank}.stderr").read_text()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> Iterator[Path]:
    """All jobs, running."""
    folder = tmp_path_factory.mktemp("jobs")
    command = [sys.executable, str(PROGRAM), str(folder), *CASES]
    environment = {**os.environ, "MPIFL_TIMEOUTS": TIMEOUTS}
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        yield folder
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "how", "said"), FAILURES, ids=CASES[: len(FAILURES)])
def test_when_a_rank_fails_the_others_end_with_code_1_and_name_it(jobs, rank, how, said):
    job = Job(jobs / f"{rank}.{how}")
    others = [other for other in range(SIZE) if other != rank]
    assert [job.code(other) for other in others] == [1, 1]
    # The server speaks, even of itself, unless its own process cannot.
    speaker = 0
    if rank == 0 and how != "hangs":
        speaker = 1
    expected = f"mpifl: rank {speaker}: rank {rank} on {socket.gethostname()} {said}"
    assert expected.format(rank=rank) in job.stderr(speaker)
    if speaker == 0:
        assert job.stderr(2) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "where"),
    [
        ("0.hangs", "in hang"),
        ("1.hangs", "in hang"),
        ("1.holds", "in fail"),
        ("1.lingers", "in hang"),
    ],
)
def test_a_rank_that_hangs_prints_where_before_it_is_ended(jobs, case, where):
    job = Job(jobs / case)
    rank = int(case[0])
    assert job.code(2) == 1
    assert "Timeout (" in job.stderr(rank)
    assert where in job.stderr(rank)
    if case != "1.holds":
        assert job.code(rank) == 1


@pytest.mark.slow
def test_when_all_ranks_wait_inside_mpi_they_end_and_the_server_says_so(jobs):
    job = Job(jobs / "1.waits")
    assert [job.code(rank) for rank in range(SIZE)] == [1, 1, 1]
    assert job.stderr(0) == (
        "mpifl: rank 0: all ranks wait inside MPI, each for more than 2 s "
        "(runtime.patience_minutes)\n"
    )
    assert job.stderr(1) == job.stderr(2) == ""


@pytest.mark.slow
def test_a_rank_that_hangs_when_all_have_been_at_their_ends_prints_where_and_ends(jobs):
    job = Job(jobs / "1.stays")
    assert [job.code(rank) for rank in range(SIZE)] == [0, 1, 0]
    assert "in hang" in job.stderr(1)


@pytest.mark.slow
def test_a_rank_that_hangs_where_no_stack_can_be_printed_is_ended_by_an_alarm(jobs):
    job = Job(jobs / "1.mute")
    assert [job.code(rank) for rank in range(SIZE)] == [0, -signal.SIGALRM, 0]


def test_before_the_config_is_read_a_rank_may_be_silent_for_the_patience_and_no_longer():
    activity = Activity()
    activity.limit = Limit(60.0, "an option")
    assert activity.summary(time.monotonic()).timeout == 60.0


@pytest.mark.slow
def test_ranks_that_are_done_wait_for_one_that_works_and_all_end_with_code_0(jobs):
    job = Job(jobs / "1.unhurried")
    assert [job.code(rank) for rank in range(SIZE)] == [0, 0, 0]
    assert [job.stderr(rank) for rank in range(SIZE)] == ["", "", ""]
