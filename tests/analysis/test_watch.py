"""Runs are watched: on a terminal of 80 x 24 and as lines, of a run that is training meanwhile."""

from __future__ import annotations

import codecs
import fcntl
import io
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import mpifl
from mpifl.analysis.watching import follow as following
from mpifl.analysis.watching.picture import picture
from mpifl.analysis.watching.state import State, state_of
from mpifl.cli import main
from mpifl.store import Entry, Run, Store
from mpifl.store.run_folder import OWNER
from mpifl.store.watching import Look, RunWatch

CONFIG = {
    "name": "watched",
    "rounds": 4,
    "clients": 3,
    "data": {
        "name": "synthetic",
        "options": {"shape": [1, 8, 8], "classes": 4, "train": 36, "test": 12},
    },
    "partition": {"name": "iid"},
    "model": {"name": "mlp", "hidden": [5]},
    "local": {"steps": 1},
    "results": {"commit_seconds": 0, "checkpoint_rounds": 2},
}
PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C and changes of the size are signalled
from mpifl.cli import main
main(["watch", sys.argv[1]], prog_name="mpifl")
"""
LEFT = "\x1b[?1049l"
"""leaves the terminal's second screen"""
GONE = 2**22 + 1
"""above the largest number of a process on Linux"""


# --- on a terminal, while the run trains ----------------------------------------------------------


class Terminal:
    """`mpifl watch` on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self._end, client = os.openpty()
        self.resize(80, 24)
        environment = {**os.environ, "TERM": "xterm"}
        for name in ("COLUMNS", "LINES"):  # pytest-xdist sets them, and they count more
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            stdin=client,
            stdout=client,
            stderr=client,
            start_new_session=True,
            env=environment,
        )
        os.close(client)
        self.written = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def wait_for(self, found: Callable[[], bool]) -> None:
        """Read what is written until `found` says so; fail after 30 pictures without it."""
        pictures = self.written.count("\x1b[H") + 30
        while not found():
            assert self.written.count("\x1b[H") < pictures, f"not found in {self.written[-3000:]!r}"
            ready, _, _ = select.select([self._end], [], [], 60)
            assert ready, f"not found in {self.written!r}"
            try:
                self.written += self._decoder.decode(os.read(self._end, 65536))
            except OSError:  # its end, on Linux
                return

    def frame(self) -> list[str]:
        """The lines on the screen, without colours; none before the first is complete."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.written.split("\x1b[H")[-1])
        lines = text.split("\n")
        return [line.rstrip() for line in lines] if lines[-1].startswith("q leaves") else []

    def exit_code(self) -> int:
        self.wait_for(lambda: False)
        os.close(self._end)
        return self._process.wait(60)


class Seen(NamedTuple):
    """What was seen of the run while it trained."""

    frame: list[str]
    small_frame: list[str]
    written: str
    code: int
    code_of_interrupt: int
    written_before_interrupt: str
    once: str


def look(folder: Path) -> Seen:
    """Watch the run at `folder` on a terminal that gets smaller, leave by q, then by Ctrl-C."""
    terminal = Terminal(folder)
    terminal.wait_for(lambda: len(terminal.frame()) == 24)
    frame = terminal.frame()
    terminal.resize(50, 10)
    terminal.wait_for(lambda: len(terminal.frame()) == 10)
    small_frame = terminal.frame()
    terminal.type(b"q")
    code = terminal.exit_code()
    other = Terminal(folder)
    other.wait_for(lambda: bool(other.frame()))
    other.type(b"\x03")
    code_of_interrupt = other.exit_code()
    once = CliRunner().invoke(main, ["watch", str(folder), "--once"])
    return Seen(
        frame,
        small_frame,
        terminal.written,
        code,
        code_of_interrupt,
        other.written,
        once.stdout,
    )


class Watcher(mpifl.Callback):
    """Watches the run after its third round: the run goes on when the watcher has left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: list[Seen] = []

    def round_finished(self, progress, last) -> None:
        if progress.round == 3:
            self.seen.append(look(self._folder))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Seen]:
    """The folder of a run, and what was seen of it while it trained."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    watcher = Watcher(folder)
    mpifl.run(CONFIG, out=folder, callbacks=[watcher], quiet=True)
    return folder, watcher.seen[0]


@pytest.mark.slow
def test_a_running_run_fills_a_terminal_of_80_x_24(finished):
    folder, seen = finished
    assert max(map(len, seen.frame)) <= 80
    text = "\n".join(seen.frame)
    assert "running" in text
    assert re.search(r"\[#{15}-{5}\] 3 of 4, \S+ s a round, left \d+ s", text)
    assert re.search(r"accuracy +last \d+\.\d\d %, best", text)
    assert re.search(r"loss +test \d\.\d{4}, training \d\.\d{4}", text)
    assert re.search(r"checkpoint +round 2, \d+ s ago", text)
    assert re.search(r"test accuracy +test loss", text)
    assert re.search("[\u2801-\u28ff]", text)  # a curve


@pytest.mark.slow
def test_nothing_is_cleared_when_the_screen_is_drawn_again(finished):
    assert "\x1b[2J" not in finished[1].written and "\x1b[K" not in finished[1].written


@pytest.mark.slow
def test_a_smaller_terminal_gets_a_smaller_picture(finished):
    frame = finished[1].small_frame
    assert max(map(len, frame)) <= 50
    assert "3 of 4" in "\n".join(frame)


@pytest.mark.slow
def test_q_and_ctrl_c_leave_and_give_the_terminal_back(finished):
    seen = finished[1]
    assert (seen.code, seen.code_of_interrupt) == (0, 130)
    assert seen.written.endswith(LEFT)
    assert seen.written_before_interrupt.endswith(f"{LEFT}mpifl: interrupted\r\n")


@pytest.mark.slow
def test_once_prints_one_picture_without_control_characters(finished):
    once = finished[1].once
    assert once.count("3 of 4") == 1 and "\x1b" not in once


# --- lines, and how it ends -----------------------------------------------------------------------


@pytest.fixture
def lines(monkeypatch) -> Callable[[list[Callable[[], None]], list[Path]], tuple[int, list[str]]]:
    """lines(steps, paths) -> exit code, printed lines; at each pause the next step happens."""

    def watched(steps: list[Callable[[], None]], paths: list[Path]) -> tuple[int, list[str]]:
        left = iter(steps)
        monkeypatch.setattr(following, "pause", lambda: next(left)())
        done = CliRunner().invoke(main, ["watch", *map(str, paths)])
        assert not done.exception or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output.splitlines()

    return watched


@pytest.mark.slow
def test_without_a_terminal_there_is_a_line_for_each_change(finished, tmp_path, lines):
    folder = tmp_path / "run"

    def begin() -> None:
        shutil.copytree(finished[0], folder)

    code, printed = lines([begin], [folder])
    assert code == 0
    assert printed[0] == f"{folder}: waiting"
    accuracy = Run.open(folder).rounds["test_accuracy"][-1]
    assert printed[1].startswith(
        f"{folder}: complete, round 4 of 4, accuracy {100 * accuracy:.2f} %, training loss "
    )
    assert len(printed) == 2


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("stopped", 75)])
def test_the_exit_code_says_how_a_run_ended(made, lines, status, code):
    folder = made([0.5], status)
    assert lines([], [folder]) == (code, [f"{folder}: {status}, round 1 of 9, accuracy 50.00 %"])


@pytest.mark.slow
def test_a_folder_of_runs_is_a_table_of_all_that_it_holds(finished, made, tmp_path):
    made([0.25], "failed")
    shutil.copytree(finished[0], tmp_path / "b")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / OWNER).write_text("{}")
    shown = CliRunner().invoke(main, ["watch", str(tmp_path), "--once"], env={"COLUMNS": "80"})
    words = [line.split() for line in shown.stdout.splitlines()]
    assert words[0] == ["3", "runs:", "1", "failed,", "1", "waiting,", "1", "complete"]
    assert [row[:3] for row in words[4:7]] == [
        ["a-run", "failed", "1/9"],
        ["b", "complete", "4/4"],
        ["begun", "waiting", "0"],
    ]


def test_what_is_no_run_is_refused_in_a_line(tmp_path):
    (tmp_path / "run.h5").touch()
    for path in (tmp_path / "run.h5", tmp_path / "none"):
        refused = CliRunner().invoke(main, ["watch", str(path), "--once"])
        assert refused.exit_code == 2
        assert refused.stderr.startswith(f"mpifl: {path}: expected ")
        assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_watching_imports_neither_torch_nor_mpi(finished):
    program = f"""
import sys
from mpifl.cli import main
try:
    main(["watch", {str(finished[0])!r}, "--once"])
finally:
    print({{"torch", "mpi4py", "matplotlib"}} & set(sys.modules))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


# --- what is said of a run ------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path) -> Callable[..., Path]:
    """made(accuracies, status="", seconds=1, rows={}) -> the folder of a run of 9 rounds, with a
    round for each accuracy; the four clients of each report `rows`.
    """

    def make(accuracies, status="", seconds=1.0, rows=None) -> Path:
        store = Store.create(
            tmp_path / "a-run",
            config='name = "a"\nrounds = 9\n',
            seed=5,
            layout=[Entry("w", "parameter", (5,), 0, 5)],
            clients=4,
            partition=(np.arange(4), np.arange(5), np.ones((4, 1), int)),
            provenance={},
            commit_seconds=0,
        )
        for round, accuracy in enumerate(accuracies, 1):
            row = {"test_accuracy": accuracy, "test_loss": 1 - accuracy, "seconds": seconds}
            store.append(round, row, rows or {}, range(4) if rows else [])
        if status:
            store.close(status)
        return tmp_path / "a-run"

    return make


def state(folder: Path, later: float = 0.0, ended: str = "", why: str = "") -> State:
    """The state of a run, `later` seconds after it was written last."""
    run = Run.open(folder)
    written = datetime.fromisoformat(run.attrs["updated"])
    return state_of(str(folder), Look(run, ended, why), written + timedelta(seconds=later))


def test_the_time_left_is_that_of_the_rounds_left_less_the_time_since_the_last_one(made):
    folder = made([0.1, 0.2, 0.3], seconds=10.0)
    assert state(folder).seconds_left == 60
    assert state(folder, later=7).seconds_left == 53
    assert state(folder, later=1000).seconds_left == 0
    assert np.isnan(state(folder, ended="stopped").seconds_left)


def test_the_time_left_is_unknown_before_the_first_round(made):
    assert np.isnan(state(made([])).seconds_left)


def test_clients_that_take_far_longer_than_the_median_are_slow(made):
    folder = made([0.1, 0.2], rows={"seconds": [0.1, 0.1, 0.1, 0.4]})
    assert state(folder).slow == "3 (4.0 x), beside the median of 0.1 s"


def test_clients_that_are_alike_are_not_slow(made):
    folder = made([0.1], rows={"seconds": [0.1, 0.1, 0.1, 0.14]})
    assert state(folder).slow == "none: all within 1.5 times the median of 0.1 s"


def test_a_long_silence_is_a_warning(made):
    folder = made([0.1], seconds=100.0)
    assert state(folder, later=400).warnings == ()
    [warning] = state(folder, later=600).warnings
    assert warning == "nothing was written for 10 min; the longest round took 1:40"


def test_a_fall_of_the_accuracy_and_replies_that_are_not_finite_are_warnings(made):
    rows = {"seconds": [1, 1, 1, 1], "failed": [0, 0, 2, 3]}
    assert state(made([0.9, 0.5], rows=rows)).warnings == (
        "the accuracy fell from 90.00 % (round 1) to 50.00 %",
        "2 replies not finite and left out, the last of client 2 in round 2",
    )


def test_a_run_whose_process_is_gone_is_dead(made):
    folder = made([0.1])
    owner = json.loads((folder / OWNER).read_text())
    owner |= {"pid": GONE, "host": socket.gethostname()}
    (folder / OWNER).write_text(json.dumps(owner))
    now = datetime.now(UTC)
    found = state_of(str(folder), RunWatch(folder, 1e9).look(), now)
    assert found.status == "dead" and found.has_ended
    assert found.warnings[0].startswith(f"its process {GONE} on ")
    shown = CliRunner().invoke(main, ["show", str(folder)]).stdout
    assert f"dead: it says running, but its process {GONE} on " in shown
    listed = CliRunner().invoke(main, ["show", str(folder), str(folder)]).stdout
    assert " dead " in listed
    assert CliRunner().invoke(main, ["show", str(folder), "--status"]).stdout == "running\n"


def test_of_more_runs_than_lines_those_that_run_are_shown_and_the_others_counted():
    states = [State(f"runs/{number}", "complete") for number in range(30)]
    states.append(State("runs/late", "running"))
    console = Console(width=80, file=io.StringIO())
    drawn = picture(states, console, height=12)
    text = "\n".join(
        "".join(part.text for part in line)
        for drawn_part in drawn
        for line in console.render_lines(drawn_part)
    )
    assert text.count("\n") + 1 <= 12
    assert "late" in text and re.search(r"and 2\d more", text)
