"""Where nobody reads what a run says, or a log's disk is full, the run goes on, and exit codes stay
what they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from mpifl.runner import session
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


STREAMS = {"full": full, "broken": broken, "closed": lambda: None, "ascii": ascii_only}


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
    assert session.main("config.toml", [], Path("out")) == 0
    assert session.main("config.toml", ["rounds=none"], Path("wrong")) == 2
    assert session.main("config.toml", ["local.lr=1e6"], Path("diverged")) == 3
    assert Run.open("out").status == "complete"
