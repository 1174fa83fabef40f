"""`mpifl run --resume` of a run whose results.h5 another program has opened or changed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result

from mpifl.analysis import group, open_runs
from mpifl.cli import main
from mpifl.store import Run, Store

pytestmark = pytest.mark.slow

CONFIG = """
rounds = 2
clients = 4
data = { name = "digits", train_limit = 100, test_limit = 50 }
model = { name = "mlp", hidden = [8] }
algorithm = "scaffold"
"""


def train(folder: Path) -> None:
    """A run of two rounds, and one of four."""
    folder.mkdir()
    with contextlib.chdir(folder):
        Path("config.toml").write_text(CONFIG)
        assert run("whole", "rounds=4").exit_code == 0
        assert run("out").exit_code == 0
        Path("out/results.h5").chmod(0o644)


@pytest.fixture
def folder(once, elsewhere) -> Path:
    """The working directory, with a run of two rounds, and one of four."""
    shutil.copytree(once("two-and-four-rounds", train), elsewhere, dirs_exist_ok=True)
    return elsewhere


def run(out: str, *more: str) -> Result:
    return CliRunner().invoke(main, ["run", "config.toml", "--out", out, *more])


def files(out: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}


def open_for_writing() -> None:
    with h5py.File("out/results.h5", "a"):
        pass


def add_attribute() -> None:
    with h5py.File("out/results.h5", "a") as file:
        file.attrs["remark"] = "mine"


def copy_whole() -> None:
    """As h5repack does: the same contents in another file."""
    with h5py.File("out/results.h5") as old, h5py.File("out/new.h5", "w") as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)
    os.replace("out/new.h5", "out/results.h5")


@pytest.mark.parametrize("edit", [open_for_writing, add_attribute, copy_whole])
def test_it_continues_from_the_checkpoint_and_keeps_the_edited_file_aside(folder, edit):
    edit()
    edited = Path("out/results.h5").read_bytes()
    resumed = run("out", "rounds=4", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "is kept as results.edited-1.h5" in resumed.stdout
    assert Path("out/results.edited-1.h5").read_bytes() == edited
    mine, whole = Run.open("out"), Run.open("whole")
    assert mine.status == "complete"
    assert mine.rounds["sha256"].tolist() == whole.rounds["sha256"].tolist()
    assert run("out", "rounds=4", "--resume").exit_code == 0
    assert not Path("out/results.edited-2.h5").exists()


def test_edited_results_that_are_not_those_of_the_checkpoint_are_refused_untouched(folder):
    with h5py.File("out/results.h5", "a") as file:
        file["rounds/sha256"][1] = "0" * 64
    before = files("out")
    refused = run("out", "rounds=4", "--resume")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "the checkpoint's weights after round 2" in refused.stderr
    assert files("out") == before


def test_edited_results_are_left_as_they_are_where_an_option_is_another_now(folder):
    add_attribute()
    before = files("out")
    refused = run("out", "rounds=4", "local.lr=0.7", "--resume")
    assert (refused.exit_code, "local.lr: expected" in refused.stderr) == (2, True)
    assert files("out") == before


def test_a_sweep_goes_on_with_a_run_whose_results_were_edited(folder):
    Path("sweep.toml").write_text('base = "config.toml"\nout = "all"\n[grid]\nseed = [0, 1]\n')
    sweep = ["sweep", "sweep.toml"]
    for task in ("0", "1"):
        assert CliRunner().invoke(main, [*sweep, "--task", task]).exit_code == 0
    Path("all/seed=0/results.h5").chmod(0o644)
    with h5py.File("all/seed=0/results.h5", "a"):
        pass
    assert CliRunner().invoke(main, [*sweep, "--missing"]).stdout == "0\n"
    assert CliRunner().invoke(main, [*sweep, "--task", "1"]).exit_code == 0
    assert CliRunner().invoke(main, [*sweep, "--task", "0"]).exit_code == 0
    assert CliRunner().invoke(main, [*sweep, "--missing"]).stdout == ""


def flip_a_bit(content: bytearray) -> None:
    content[len(content) // 2] ^= 1


def cut_short(content: bytearray) -> None:
    del content[len(content) // 3 :]


def empty(content: bytearray) -> None:
    content.clear()


def damage(how: Callable[[bytearray], None]) -> bytes:
    content = bytearray(Path("out/results.h5").read_bytes())
    how(content)
    Path("out/results.h5").write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("how", [flip_a_bit, cut_short, empty])
def test_damaged_results_are_begun_anew_at_the_checkpoint_and_kept_aside(folder, how):
    damaged = damage(how)
    resumed = run("out", "rounds=4", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "the rows of rounds 1 to 2 are lost" in resumed.stdout
    assert Path("out/results.damaged-1.h5").read_bytes() == damaged
    mine, whole = Run.open("out"), Run.open("whole")
    assert (mine.status, mine.rounds["round"].tolist()) == ("complete", [3, 4])
    assert mine.rounds["sha256"].tolist() == whole.rounds["sha256"].tolist()[2:]
    assert mine.saved_rounds == [2, 4]
    assert CliRunner().invoke(main, ["show", "out"]).exit_code == 0
    assert len(group(open_runs(["out", "whole"]))) == 2
    assert run("out", "rounds=5", "--resume").exit_code == 0
    assert Run.open("out").rounds["round"].tolist() == [3, 4, 5]


def test_held_out_samples_are_those_of_before_where_damaged_results_are_begun_anew(folder):
    held = ["holdout.ratio=4", "holdout.clients=[1]", "seed=3"]
    assert run("held", *held).exit_code == 0
    before = Run.open("held").holdout
    Path("held/results.h5").unlink()
    Path("held/results.h5").touch()
    assert run("held", *held, "rounds=4", "--resume").exit_code == 0
    after = Run.open("held").holdout
    assert {name: array.tolist() for name, array in after.items()} == {
        name: array.tolist() for name, array in before.items()
    }


def test_damaged_results_of_a_run_without_rounds_left_are_refused_untouched(folder):
    damage(flip_a_bit)
    before = files("out")
    refused = run("out", "--resume")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "no round left to train" in refused.stderr
    assert files("out") == before


def test_damaged_results_are_left_as_they_are_where_an_option_is_another_now(folder):
    damage(flip_a_bit)
    before = files("out")
    refused = run("out", "rounds=4", "local.lr=0.7", "--resume")
    assert (refused.exit_code, "another config" in refused.stderr) == (2, True)
    assert files("out") == before


def test_damaged_results_without_a_checkpoint_are_refused_untouched(folder):
    damage(flip_a_bit)
    shutil.rmtree("out/checkpoint")
    before = files("out")
    refused = run("out", "rounds=4", "--resume")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert files("out") == before


def test_a_resume_that_is_killed_once_it_has_begun_anew_is_resumed(folder, monkeypatch):
    damage(flip_a_bit)
    with monkeypatch.context() as killed:
        killed.setattr(Store, "resume", lambda *_, **__: pytest.fail("killed"))
        assert run("out", "rounds=4", "--resume").exit_code != 0
    assert run("out", "rounds=4", "--resume").exit_code == 0
    assert Run.open("out").rounds["round"].tolist() == [3, 4]


def test_edited_results_without_a_sound_checkpoint_are_refused_untouched(folder):
    add_attribute()
    for part in Path("out/checkpoint").glob("*.h5"):
        part.unlink()
    before = files("out")
    assert run("out", "rounds=4", "--resume").exit_code == 2
    assert files("out") == before
