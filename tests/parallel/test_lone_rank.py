"""A rank that is alone is watched too: where it hangs, it says where and ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from math import inf
from pathlib import Path

from mpifl.parallel.heartbeat import Heartbeat

PROGRAM = Path(__file__).parent / "programs" / "lone_rank.py"
TIMEOUTS = "beat=0.005 margin=0.4 react=0.1 close=0.1"


class Alone:
    rank = 0
    size = 1


def lone_rank(how: str) -> subprocess.CompletedProcess:
    """Run PROGRAM to its end."""
    environment = {**os.environ, "MPIFL_TIMEOUTS": TIMEOUTS}
    command = [sys.executable, str(PROGRAM), how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_lone_rank_that_hangs_prints_where_names_the_option_and_ends_with_code_1():
    done = lone_rank("hangs")
    assert done.returncode == 1
    assert "in hang" in done.stderr
    said = f"rank 0 on {socket.gethostname()} has not reported for "
    assert said in done.stderr
    assert ", last seen in round 7 with client 3 (runtime.patience_minutes)" in done.stderr


def test_a_lone_rank_that_reports_and_one_that_no_longer_listens_may_take_their_time():
    done = lone_rank("works")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_thread_that_watches_a_lone_rank_ends_with_listening():
    before = threading.active_count()
    heartbeat = Heartbeat(Alone())
    with heartbeat.listening(inf):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
