"""The folder in which the blocks of a page run: configs, examples and small runs are there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from documents.pages import REPOSITORY
from documents.shell import Shell

from mpifl.cli import main

SMALL = {
    "rounds = 40": "rounds = 4",
    'name = "cnn"\nnorm = "group"': 'name = "mlp"\nhidden = [8]',
    "epochs = 2": "epochs = 1",
}
"""what the demo's config says, and what it says here: it takes no time"""

RUNS = {
    "demo": [],
    "avg-1": ["seed=2"],
    "avg-2": ["seed=3"],
    "man-1": ["seed=2", "local.loss=ce + man(zeta=0.15)"],
    "man-2": ["seed=3", "local.loss=ce + man(zeta=0.15)"],
}
"""the runs that are there in runs/, with their options"""
STORED = ["results.weights_every=2", "results.clients_every=2", "evaluation.clients=true"]


def _make(folder: Path) -> None:
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    demo = folder / "configs" / "demo.toml"
    text = demo.read_text(encoding="utf-8")
    for theirs, ours in SMALL.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    demo.write_text(text, encoding="utf-8")
    for name, options in RUNS.items():
        out = folder / "runs" / name
        words = ["run", str(demo), *options, *STORED, "--out", str(out)]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output


@pytest.fixture
def desk(once, elsewhere) -> Path:
    """A folder of the page's own, and the working directory."""
    shutil.copytree(once("documents", _make), elsewhere, dirs_exist_ok=True)
    for name in ("examples", "analysis", "jobs"):
        (elsewhere / name).symlink_to(REPOSITORY / name)
    return elsewhere


@pytest.fixture
def shell() -> Iterator[Shell]:
    """Runs scripts of bash."""
    with tempfile.TemporaryDirectory() as bin:
        shell = Shell(Path(bin))
        yield shell
        shell.close()
