"""The live line of a run stands below all that is printed, and tears none of it."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
from tiny import RUN

import mpifl
from mpifl.runner.live_progress import LiveProgress
from mpifl.terminal import say
from mpifl.terminal.live_line import live_line


class Screen:
    """A terminal on which stdout and stderr are written."""

    def __init__(self, columns: int) -> None:
        self._end, client = os.openpty()
        fcntl.ioctl(client, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stdout = os.fdopen(client, "w")
        self.stderr = os.fdopen(os.dup(client), "w")
        self._pieces: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # its end, on Linux
            while piece := os.read(self._end, 65536):
                self._pieces.append(piece)

    def close(self) -> None:
        self.stdout.close()
        self.stderr.close()
        self._reader.join()
        os.close(self._end)

    def moments(self) -> list[list[str]]:
        """What stood on the screen after each piece of text that ends a line or a drawing."""
        found = []
        lines = [""]
        column = 0
        for character in b"".join(self._pieces).decode():
            if character == "\n":
                lines.append("")
            elif character == "\r":
                column = 0
            elif character == "\b":
                column -= 1
            else:
                line = lines[-1].ljust(column)
                lines[-1] = line[:column] + character + line[column + 1 :]
                column += 1
            found.append([line.rstrip() for line in lines])
        return found


@contextmanager
def screen(monkeypatch: pytest.MonkeyPatch, columns: int = 60) -> Iterator[Screen]:
    """A terminal in the place of stdout and stderr, until the end of the block."""
    made = Screen(columns)
    with monkeypatch.context() as patched:
        patched.setenv("TERM", "xterm")
        patched.setattr(sys, "stdout", made.stdout)
        patched.setattr(sys, "stderr", made.stderr)
        yield made
    made.close()


def test_all_that_is_printed_stands_above_the_line(monkeypatch):
    with screen(monkeypatch) as terminal, live_line(lambda: "LIVE"):
        say("by say")
        print("by print", "in two pieces")
        sys.stderr.writelines(["file.py:1: UserWarning: ", "by a warning\n"])
        other = threading.Thread(target=lambda: say("by a thread", error=True))
        other.start()
        other.join()
        sys.stdout.write("an open line")
        sys.stdout.write(", continued\n")
    moments = terminal.moments()
    last = moments[-1]
    assert last[:2] == ["by say", "by print in two pieces"]
    assert last[2] == "file.py:1: UserWarning: by a warning"
    assert last[-3:] == ["by a thread", "an open line, continued", ""]
    below = {moment[-2] for moment in moments if moment[-1] == "LIVE" and len(moment) > 1}
    assert below >= {"by say", "by print in two pieces", "by a thread", "an open line, continued"}


def test_a_shorter_line_leaves_nothing_of_a_longer_one_and_a_long_one_is_cut(monkeypatch):
    texts = iter(["x" * 100, "short", "shorter still", "end"])
    with screen(monkeypatch) as terminal, live_line(lambda: next(texts, "end")):
        say("a")
        say("b")
        say("c")
    moments = terminal.moments()
    assert [line for line in moments[-1] if line] == ["a", "b", "c"]
    assert max(len(line) for moment in moments for line in moment) == 59


@pytest.mark.parametrize("columns", [0, 10])
def test_there_is_no_line_on_a_terminal_of_no_width(monkeypatch, columns):
    with screen(monkeypatch, columns) as terminal, live_line(lambda: "LIVE"):
        assert sys.stderr is terminal.stderr
    assert terminal.moments() == []


def test_there_is_no_line_in_a_log(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with live_line(lambda: "LIVE"):
        say("text", error=True)
    assert log.getvalue() == "text\n"


def test_the_streams_are_as_before_after_an_error(monkeypatch):
    with screen(monkeypatch) as terminal:
        with pytest.raises(ValueError), live_line(lambda: "LIVE"):
            assert sys.stdout is not terminal.stdout
            raise ValueError
        assert (sys.stdout, sys.stderr) == (terminal.stdout, terminal.stderr)


def test_the_line_tells_the_rounds_done_and_the_time_left():
    now = 100.0
    live = LiveProgress(40, done=10, clock=lambda: now)
    now = 103.0
    assert live.text() == "[#####---------------] 10 of 40 rounds, the first takes 3 s so far"
    for round, seconds in ((11, 2.0), (12, 6.0), (13, 4.0)):
        live.round_finished(SimpleNamespace(round=round, figures={"seconds": seconds}), False)
    assert live.text() == "[######--------------] 13 of 40 rounds, the last 0 s ago, left 1:48"
    now += 8
    assert live.text() == "[######--------------] 13 of 40 rounds, the last 8 s ago, left 1:40"


class Talks(mpifl.Callback):
    """Prints as a user's own callback does."""

    def round_finished(self, progress, last) -> None:
        print("my own", progress.round)


def test_a_run_at_a_terminal_shows_the_line_below_its_rounds(monkeypatch, tmp_path):
    with screen(monkeypatch, columns=80) as terminal:
        mpifl.run({**RUN, "name": "run"}, out=tmp_path / "run", callbacks=[Talks()])
    moments = terminal.moments()
    assert any(
        moment[-1].startswith("[##########----------] 1 of 2 rounds, the last 0 s ago, left 0 s")
        for moment in moments
    )
    kept = moments[-1]
    assert not any(line.startswith("[#") for line in kept)
    assert [line for line in kept if line.startswith("my own")] == ["my own 1", "my own 2"]
    assert [line[:10] for line in kept if line.startswith("round ")] == ["round 1/2 ", "round 2/2 "]
