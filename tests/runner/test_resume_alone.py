"""`mpifl run --resume` of runs that ended, hit their target, or lost a file: nothing is done twice,
nothing lost.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mpifl.cli import main
from mpifl.store import Run, Store, checkpoint, manifest
from mpifl.store.run_folder import OWNER, Owner

pytestmark = pytest.mark.slow

CONFIG = """
rounds = 30
clients = 4
data = { name = "digits", train_limit = 200, test_limit = 100 }
model = { name = "mlp", hidden = [16] }
algorithm = "scaffold"
evaluation = { every = 2 }
results = { commit_seconds = 0.0 }
"""
TARGET = "evaluation.target_accuracy=0.5"


@pytest.fixture
def folder(elsewhere) -> Path:
    """The working directory, with a config."""
    (elsewhere / "config.toml").write_text(CONFIG)
    return elsewhere


def run(out: str, *more: str) -> Result:
    return CliRunner().invoke(main, ["run", "config.toml", "--out", out, *more])


def rows(out: str) -> list[tuple]:
    found = Run.open(out).rounds
    return list(zip(found["round"].tolist(), found["sha256"], strict=True))


def files(out: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}


def assert_is_refused(result: Result, *words: str) -> None:
    """Exit code 2 and one line, with these words in it."""
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("where", ["server", "shared"])
def test_a_run_that_hit_its_target_ends_where_it_would_have_wherever_it_was_stopped(folder, where):
    options = [TARGET, f"evaluation.where={where}", "results.commit_seconds=600"]
    assert run("whole", *options).exit_code == 0
    whole = rows("whole")
    hit = whole[-1][0] - 1
    assert 2 <= hit < 29
    for stop in range(hit - 1, hit + 2):
        assert run(f"{stop}", *options, f"rounds={stop}").exit_code == 0
        assert run(f"{stop}", *options, "--resume").exit_code == 0
        assert rows(f"{stop}") == whole
        assert run(f"{stop}", *options, "--resume").exit_code == 0
        assert rows(f"{stop}") == whole
        assert Run.open(f"{stop}").status == "complete"
    assert run(f"{hit}", *options, "--resume", "evaluation.target_accuracy=0.999").exit_code == 0
    assert len(rows(f"{hit}")) == 30


def test_a_run_of_a_sweep_that_hit_its_target_is_done(folder):
    (folder / "config.toml").write_text(
        CONFIG.replace("every = 2", "every = 2, target_accuracy = 0.5")
    )
    (folder / "sweep.toml").write_text('base = "config.toml"')
    sweep = ["sweep", "sweep.toml"]
    assert CliRunner().invoke(main, [*sweep, "--task", "0"]).exit_code == 0
    assert CliRunner().invoke(main, [*sweep, "--missing"]).stdout == ""
    assert "is done" in CliRunner().invoke(main, [*sweep, "--task", "0"]).stdout


def test_the_checkpoint_that_a_run_goes_on_from_stays_until_there_is_another(folder, monkeypatch):
    """If other ranks wrote it again, it would briefly be neither the old one nor the new one."""
    assert run("out", "rounds=2", "results.checkpoint_rounds=2").exit_code == 0
    with monkeypatch.context() as killed:
        killed.setattr(manifest, "write", lambda *_: pytest.fail("a checkpoint was written"))
        assert run("out", "rounds=2", "results.checkpoint_rounds=2", "--resume").exit_code == 0
        assert run("out", "rounds=3", "results.checkpoint_rounds=2", "--resume").exit_code == 1
    assert checkpoint.latest(folder / "out").round == 2
    assert run("out", "rounds=3", "results.checkpoint_rounds=2", "--resume").exit_code == 0


@pytest.mark.parametrize("link", [False, True])
def test_checkpoints_whose_results_are_gone_are_refused_not_begun_anew_over(folder, link):
    assert run("out", "rounds=2").exit_code == 0
    (folder / "out" / "results.h5").unlink()
    if link:
        (folder / "out" / "results.h5").symlink_to("/not/mounted/results.h5")
    before = files("out")
    assert_is_refused(run("out", "rounds=2", "--resume"))
    assert files("out") == before
    assert run("out", "rounds=2", "--force").exit_code == 0
    assert Run.open("out").status == "complete"


def test_an_interrupt_while_a_run_is_closed_is_too_late_to_stop_it(folder, monkeypatch):
    close = Store.close
    monkeypatch.setattr(
        Store, "close", lambda *given: (os.kill(os.getpid(), signal.SIGINT), close(*given))
    )
    assert run("out", "rounds=1").exit_code == 0
    assert Run.open("out").status == "complete"


def test_checkpoints_that_the_writer_before_made_until_the_last_moment_are_gone_on_from(
    folder, monkeypatch
):
    claim, often = Owner.claim, "results.checkpoint_rounds=1"
    assert run("whole", "rounds=6").exit_code == 0
    assert run("out", "rounds=2", often).exit_code == 0
    shutil.copytree("out", "ahead")
    assert run("ahead", "rounds=5", often, "--resume").exit_code == 0

    def late(place: Path) -> Owner:
        if Path("ahead").is_dir():
            shutil.rmtree(place)
            Path("ahead").rename(place)
        return claim(place)

    monkeypatch.setattr(Owner, "claim", late)
    done = run("out", "rounds=6", often, "--resume")
    assert (done.exit_code, "resuming after round 5" in done.stdout) == (0, True), done.stderr
    assert rows("out") == rows("whole")


@pytest.mark.parametrize("flag", ["--resume", "--resume-or-start"])
@pytest.mark.parametrize("lost", ["checkpoint", "checkpoint/manifest.json"])
def test_a_run_whose_checkpoint_folder_is_lost_is_refused_and_left_as_it_is(folder, lost, flag):
    assert run("out", "rounds=2").exit_code == 0
    Path("out", lost).rename("aside")
    before = files("out")
    assert_is_refused(run("out", "rounds=3", flag), "out/checkpoint:", "2 rounds", "--force")
    assert files("out") == before
    Path("aside").rename(Path("out", lost))
    assert run("out", "rounds=3", flag).exit_code == 0
    assert len(rows("out")) == 3


def test_a_run_killed_before_its_first_checkpoint_begins_again_and_says_so(folder, monkeypatch):
    assert run("whole", "rounds=3").exit_code == 0
    with monkeypatch.context() as killed:
        killed.setattr(checkpoint, "commit", lambda *_, **__: pytest.fail("killed"))
        assert run("out", "rounds=3").exit_code == 1
    assert len(rows("out")) == 3
    resumed = run("out", "rounds=3", "--resume")
    assert (resumed.exit_code, "beginning at round 1" in resumed.stdout) == (0, True)
    assert rows("out") == rows("whole")


@pytest.mark.parametrize("flag", ["--resume", "--force"])
@pytest.mark.parametrize("status", ["running", "complete"])
def test_a_process_that_still_writes_the_folder_is_named_when_it_is_taken_over(
    folder, monkeypatch, flag, status
):
    with monkeypatch.context() as going_on:
        if status == "running":
            going_on.setattr(Store, "close", lambda *_: None)
        assert run("out", "rounds=1").exit_code == 0
    assert Run.open("out").status == status
    owner = Path("out", OWNER)
    known = json.loads(owner.read_text())
    owner.write_text(json.dumps(known | {"pid": os.getppid()}))
    taken = run("out", "rounds=2", flag)
    assert taken.exit_code == 0
    note = f"note: process {os.getppid()} on {known['host']} was writing out"
    assert (note in taken.stdout) == (status == "running")


@pytest.mark.parametrize("place", ["nothing", "an empty folder"])
def test_resume_refuses_a_place_without_a_run_and_resume_or_start_begins_there(folder, place):
    if place == "an empty folder":
        Path("typo").mkdir()
    assert_is_refused(run("typo", "rounds=2", "--resume"), "typo", "--resume-or-start")
    assert files("typo") == {}
    begun = run("typo", "rounds=2", "--resume-or-start")
    assert (begun.exit_code, "nothing to resume at typo, starting\n" in begun.stdout) == (0, True)
    again = run("typo", "rounds=3", "--resume-or-start")
    assert (again.exit_code, "resuming after round 2\n" in again.stdout) == (0, True)


def test_weights_without_results_are_not_begun_anew_over(folder):
    assert run("out", "rounds=2").exit_code == 0
    Path("out/results.h5").unlink()
    shutil.rmtree("out/checkpoint")
    before = files("out")
    assert_is_refused(run("out", "rounds=2", "--resume"))
    assert files("out") == before
