"""What is printed on narrow terminals, in other encodings, and of names with control characters."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

import pytest

from mpifl import terminal
from mpifl.terminal import progress

ALARM = "red \x1b[31m bell \x07"
ESCAPED = r"red \x1b[31m bell \x07"


def of(stream_encoding: str, monkeypatch) -> io.BytesIO:
    """Put a stream of this encoding in the place of stdout; return its bytes."""
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding=stream_encoding))
    return content


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("utf-8", "λ 1 ± 2 − 3 — ü"),
        ("latin-1", "lambda 1 ± 2 - 3 ? ü"),
        ("ascii", "lambda 1 +/- 2 - 3 ? ?"),
    ],
)
def test_characters_that_the_encoding_lacks_are_written_in_others(monkeypatch, encoding, printed):
    content = of(encoding, monkeypatch)
    terminal.say("λ 1 ± 2 − 3 — ü")
    assert content.getvalue().decode(encoding) == f"{printed}\n"


def test_the_columns_of_a_table_stay_aligned_in_ascii(monkeypatch):
    content = of("ascii", monkeypatch)
    made = terminal.table("round", "λ_max")
    made.add_row("1", "2 ± 3")
    terminal.say_table("title", made)
    lines = content.getvalue().decode().splitlines()[1:]
    assert len({len(line) for line in lines}) == 1
    assert "2 +/- 3" in lines[3]


def printed_in_every_way(text: str) -> None:
    terminal.say(text)
    terminal.say_paragraph(text)
    made = terminal.table(text, text)
    made.add_row(text, text)
    terminal.say_table(text, made)
    known = terminal.facts()
    known.add_row(text, text)
    terminal.say_table(text, known)
    with terminal.page(colours=True) as console:
        console.print(terminal.styled(text, "bold"))


def test_control_characters_are_escaped_in_every_way_to_print(monkeypatch, capsys):
    printed_in_every_way(ALARM)
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert printed.count(ESCAPED) == 11


def all_from(server: int) -> str:
    """What was written to a terminal whose other end is closed; it may come in pieces."""
    pieces = []
    with suppress(OSError):  # at the end, Linux says so by EIO
        while piece := os.read(server, 1000):
            pieces.append(piece)
    os.close(server)
    return b"".join(pieces).decode()


def test_control_characters_are_escaped_in_a_terminal_with_colours(monkeypatch):
    server, client = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", os.fdopen(client, "w"))
    with terminal.page(colours=True) as console:
        console.print(terminal.styled(ALARM, "bold"))
    sys.stdout.close()
    assert all_from(server).splitlines() == [f"\x1b[1m{ESCAPED}\x1b[0m"]


@pytest.mark.parametrize("columns", ["0", "1", "7"])
def test_no_text_is_lost_in_a_terminal_of_few_columns(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    made = terminal.table("name", "accuracy", "loss")
    made.add_row("fedavg", "97.21 %", "0.1234")
    terminal.say_table("title", made)
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("title", "name", "accuracy", "97.21 %", "0.1234"))


def test_a_progress_bar_is_drawn_in_a_terminal_and_lines_stand_above_it(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "0")
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_BARS", 0)
    server, client = os.openpty()
    monkeypatch.setattr(sys, "stderr", os.fdopen(client, "w"))
    with terminal.progress_bar("models", 4) as advance:
        advance(1)
        terminal.say("a line")
        advance(1)
    sys.stderr.close()
    drawn = all_from(server)
    bars = ["[#####---------------] 1/4, models", "[##########----------] 2/4, models"]
    cleared = f"\r{' ' * len(bars[0])}\r"
    assert drawn == f"{bars[0]}{cleared}{bars[1]}{cleared}"
    assert capsys.readouterr().out == "a line\n"


def test_no_progress_bar_is_drawn_in_a_file_or_in_a_closed_stream(monkeypatch):
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        with terminal.progress_bar("models", 4) as advance:
            advance(4)
        assert stream is None or stream.getvalue() == ""


def test_a_log_gets_a_line_of_progress_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with terminal.progress_bar("images read", 1200, in_logs=True) as advance:
        advance(0)
        advance(1200)
    assert sys.stderr.getvalue().splitlines() == [
        "0/1,200 images read",
        "1,200/1,200 images read, left 0 s",
    ]


def test_a_short_task_adds_nothing_to_a_log(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with terminal.progress_bar("images read", 4, in_logs=True) as advance:
        advance(4)
    assert sys.stderr.getvalue() == ""
