"""A run whose models/ was not copied: what needs no weights works, the rest says what to copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mpifl.cli import main
from mpifl.store import Run

CONFIG = """
rounds = 4
clients = 4
data = { name = "digits", train_limit = 100, test_limit = 50 }
model = { name = "mlp", hidden = [8] }
results = { weights_every = 2, clients_every = 2 }
"""


def train(folder: Path) -> None:
    folder.mkdir()
    config = folder / "config.toml"
    config.write_text(CONFIG)
    assert command("run", str(config), "--out", str(folder / "whole")).exit_code == 0


@pytest.fixture
def copied(once, elsewhere) -> Path:
    """A folder with the results.h5 of a run, and nothing else."""
    shutil.copytree(once("run-with-models", train), elsewhere, dirs_exist_ok=True)
    Path("copied").mkdir()
    shutil.copy("whole/results.h5", "copied/results.h5")
    return Path("copied")


def command(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), env={"COLUMNS": "200"})


@pytest.mark.parametrize("name", ["copied", "copied/results.h5", "renamed.h5"])
def test_it_is_shown_with_the_last_digest(copied, name):
    shutil.copy("copied/results.h5", "renamed.h5")
    shown = command("show", name)
    assert shown.exit_code == 0, shown.output
    last = Run.open("whole").rounds["sha256"][-1]
    assert shown.stdout.endswith(f"digest stored at round 4:\nsha256 {last}\n")
    assert "the weights saved at round 1, 2, 3, 4 are absent" in shown.stdout


def test_of_a_run_with_its_models_no_weights_are_absent(copied):
    assert Run.open("whole").absent_rounds() == []
    assert "absent" not in command("show", "whole").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["hessian", "copied"],
        ["hessian", "copied", "--clients"],
        ["features", "copied"],
        ["landscape", "copied"],
        ["landscape", "whole", "--to", "copied"],
        ["pack", "copied", "-o", "packed.h5"],
    ],
    ids=" ".join,
)
def test_what_needs_weights_names_the_file_and_says_what_to_copy(copied, words):
    refused = command(*words)
    assert refused.exit_code == 2
    [line] = [line for line in refused.stderr.splitlines() if "expected" in line]
    assert "copied/models/round_00000" in line
    assert line.endswith("copy models/ of the run beside results.h5")
    assert not Path("packed.h5").exists()


def test_it_is_resumed_from_its_checkpoint_and_what_is_absent_is_told(copied):
    shutil.copytree("whole/checkpoint", "copied/checkpoint")
    resumed = command("run", "config.toml", "rounds=6", "--out", "copied", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "copied: the weights saved at round 1, 2, 3, 4 are absent" in resumed.stdout


@pytest.mark.parametrize(
    "words", [["table", "copied"], ["curves", "copied", "-o", "curves.html"]], ids=" ".join
)
def test_tables_and_curves_need_no_weights(copied, words):
    done = command(*words)
    assert done.exit_code == 0, done.output
