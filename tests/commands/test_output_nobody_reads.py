"""Output that nobody reads, or on a full disk: runs continue, reports end in one line or none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from mpifl.cli import main
from mpifl.runner import session
from mpifl.runner.session import Target
from mpifl.store import Run

CONFIG = """
rounds = 2
clients = 4
data = { name = "digits", train_limit = 200, test_limit = 100 }
model = { name = "mlp", hidden = [16] }
"""


def full() -> TextIO:
    return open("/dev/full", "w")


def broken() -> TextIO:
    read, write = os.pipe()
    os.close(read)
    return open(write, "w")


def ascii_only() -> TextIO:
    return open(os.devnull, "w", encoding="ascii")


def latin_1_only() -> TextIO:
    return open(os.devnull, "w", encoding="latin-1")


STREAMS = {
    "full": full,
    "broken": broken,
    "closed": lambda: None,
    "ascii": ascii_only,
    "latin-1": latin_1_only,
}


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_a_run_that_nobody_hears_ends_as_any_other(
    elsewhere, monkeypatch, stream: Callable[[], TextIO | None]
):
    (elsewhere / "config.toml").write_text(CONFIG)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream())
    assert session.main("config.toml", [], Target(Path("out"))) == 0
    assert session.main("config.toml", ["rounds=none"], Target(Path("wrong"))) == 2
    assert session.main("config.toml", ["local.lr=1e6"], Target(Path("diverged"))) == 3
    assert Run.open("out").status == "complete"


REPORTS = {
    "show": ["show", "RUN"],
    "table": ["table", "RUN"],
    "plan": ["plan", "CONFIG", "--no-timing"],
    "data": ["data"],
    "hessian": ["hessian", "RUN", "--samples", "9", "--top", "1", "--quantities", "objective"],
}
ENDS = {
    "full": (2, "mpifl: stdout: expected to write to it; got No space left on device\n"),
    "broken": (141, ""),
    "closed": (0, ""),
    "ascii": (0, ""),
    "latin-1": (0, ""),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    (folder / "config.toml").write_text(CONFIG)
    assert session.main(str(folder / "config.toml"), [], Target(folder / "out")) == 0
    return folder


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("stream", STREAMS)
def test_a_report_that_cannot_be_written_ends_in_one_line_and_for_a_gone_reader_in_none(
    finished, monkeypatch, capsys, stream, report
):
    places = {"RUN": str(finished / "out"), "CONFIG": str(finished / "config.toml")}
    words = [places.get(word, word) for word in REPORTS[report]]
    monkeypatch.setattr(sys, "stdout", STREAMS[stream]())
    with pytest.raises(SystemExit) as ended:
        main(words, prog_name="mpifl")
    lines = capsys.readouterr().err.splitlines(True)
    told = "".join(line for line in lines if line.startswith("mpifl: "))
    # what was measured is in hessian.h5: its report goes on, as a run does
    assert (ended.value.code, told) == ((0, "") if report == "hessian" else ENDS[stream])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]])
def test_help_that_cannot_be_written_ends_in_one_line(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "stdout", full())
    with pytest.raises(SystemExit) as ended:
        main(words, prog_name="mpifl")
    assert (ended.value.code, capsys.readouterr().err) == ENDS["full"]
