"""Small real runs, made once: two methods of two seeds on the digits, and others that lack
something.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from analysis.small import make
from click.testing import CliRunner

from mpifl.cli import main
from mpifl.store import Run

CONFIG = """
name = "small"
rounds = 4
clients = 5
participation = { kind = "bernoulli", fraction = 0.6 }
evaluation.clients = true
results = { weights_every = 0, clients_every = 2 }
[data]
name = "digits"
[partition]
name = "dirichlet"
alpha = 0.5
[model]
name = "cnn"
norm = "batch"
[local]
steps = 3
lr = 0.1
[published]
paper = "A paper"
table = "Table 1"
top1_acc = 50.5
top1_acc_std = 0.25
lambda_max = 12
"""

RUNS = {
    "avg-1": ["seed=1"],
    "avg-2": ["seed=2"],
    "man-1": ["seed=1", "local.loss=ce + man(zeta=0.3)"],
    "man-2": ["seed=2", "local.loss=ce + man(zeta=0.3)"],
    "first": ["seed=1", "rounds=1", "results.clients_every=1"],
    "bare": ["seed=1", "rounds=2", "results.clients_every=0", "model=mlp"],
    "other-data": ["seed=1", "rounds=1", "data.options={seed=7}", "model=mlp"],
}


@pytest.fixture(scope="session")
def folder(once) -> Path:
    """Where RUNS are."""

    def make(folder: Path) -> None:
        folder.mkdir()
        config = folder / "small.toml"
        config.write_text(CONFIG, encoding="utf-8")
        for name, changes in RUNS.items():
            done = CliRunner().invoke(
                main, ["run", str(config), *changes, "--out", str(folder / name)]
            )
            assert done.exit_code == 0, done.output

    return once("analysis-runs", make)


@pytest.fixture(scope="session")
def opened(folder) -> Callable[[str], Run]:
    """opened(name) -> Run"""
    return lambda name: Run.open(folder / name)


@pytest.fixture
def run(once, tmp_path) -> Run:
    """A copy of its own of the tiny run, whose round 2 stores its three clients."""
    shutil.copytree(once("tiny-run", make), tmp_path / "run")
    return Run.open(tmp_path / "run")


@pytest.fixture
def command(folder, monkeypatch, tmp_path, capsys):
    """command(name, *arguments) -> exit code, stdout, stderr: a subcommand of mpifl among the runs,
    in an empty folder of its own.
    """

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        words = [str(folder / word) if word in RUNS else word for word in arguments]
        with pytest.raises(SystemExit) as ended:
            main([name, *words], prog_name="mpifl")
        return ended.value.code, *capsys.readouterr()

    return run
