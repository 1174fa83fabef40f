"""`mpifl run --resume` with more rounds, under schedules that depend on how many there are."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner, Result
from hdf5_editing import edited

import mpifl
from mpifl.analysis import group, open_runs
from mpifl.cli import main
from mpifl.store import Run

pytestmark = pytest.mark.slow

CONFIG = """
rounds = 4
clients = 4
data = { name = "digits", train_limit = 100, test_limit = 50 }
model = { name = "mlp", hidden = [8] }
"""
ALLOW = "--allow-other-schedule"
HYBRIDS = {
    "cosine": "local.schedule=cosine",
    "milestones": "local.schedule={name = 'milestones', at = [0.5]}",
    "scheduled zeta": "local.loss=ce + man(zeta=0.1, schedule=cosine)",
    "wrapped": "local.loss=mixup(ce) + man(zeta=0.1, schedule=milestones(at=[0.5]))",
}


@pytest.fixture
def folder(elsewhere) -> Path:
    """The working directory, with a config."""
    (elsewhere / "config.toml").write_text(CONFIG)
    return elsewhere


def run(out: str, *more: str) -> Result:
    return CliRunner().invoke(main, ["run", "config.toml", "--out", out, *more])


def digests(out: str) -> list[str]:
    return Run.open(out).rounds["sha256"].tolist()


@pytest.mark.parametrize("option", HYBRIDS.values(), ids=HYBRIDS.keys())
def test_more_rounds_that_change_the_schedule_of_those_trained_are_refused(folder, option):
    assert run("out", option).exit_code == 0
    before = Path("out/results.h5").read_bytes()
    refused = run("out", option, "rounds=8", "--resume")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    for words in ("rounds: expected 4", "got 8", ALLOW):
        assert words in refused.stderr
    assert Path("out/results.h5").read_bytes() == before
    assert run("out", option, "--resume").exit_code == 0
    assert Run.open("out").other_schedule == ""


@pytest.mark.parametrize(
    "option",
    ["local.schedule=constant", "local.schedule=exponential"],
)
def test_more_rounds_under_other_schedules_are_those_of_a_straight_run(folder, option):
    assert run("whole", option, "rounds=6").exit_code == 0
    assert run("out", option).exit_code == 0
    assert run("out", option, "rounds=6", "--resume").exit_code == 0
    assert digests("out") == digests("whole")
    assert Run.open("out").other_schedule == ""


def test_more_rounds_before_the_first_milestone_are_those_of_a_straight_run(folder):
    option = "local.schedule={name = 'milestones', at = [0.9]}"
    assert run("whole", option, "rounds=12").exit_code == 0
    assert run("out", option, "rounds=4").exit_code == 0
    assert run("out", option, "rounds=12", "--resume").exit_code == 0
    assert digests("out") == digests("whole")


def test_a_run_resumed_under_another_schedule_is_marked_and_is_no_repeat(folder):
    cosine = "local.schedule=cosine"
    assert run("straight", cosine, "rounds=6").exit_code == 0
    assert run("out", cosine, "seed=1").exit_code == 0
    assert run("out", cosine, "seed=1", "rounds=6", "--resume", ALLOW).exit_code == 0
    # as a job does, whose command is the same each time, and one without the option
    for more in ([ALLOW], []):
        again = run("out", cosine, "seed=1", "rounds=6", "--resume", *more)
        assert again.exit_code == 0, again.output
        assert (
            Run.open("out").other_schedule == "after round 4 under the schedule of 6 rounds, not 4"
        )
    assert len(group(open_runs(["straight", "out"]))) == 2
    assert len(group(open_runs(["straight", "out"]), by=["local.lr"])) == 2
    shown = CliRunner().invoke(main, ["show", "out"], env={"COLUMNS": "200"}).stdout
    assert "after round 4 under the schedule of 6 rounds" in shown
    refused = run("out", cosine, "seed=1", "rounds=8", "--resume")
    assert (refused.exit_code, "expected 6" in refused.stderr) == (2, True)
    assert run("out", cosine, "seed=1", "rounds=8", "--resume", ALLOW).exit_code == 0
    assert "; after round 6 under" in Run.open("out").other_schedule


def test_a_run_whose_rates_another_version_had_is_refused(folder):
    assert run("out").exit_code == 0
    with edited(Path("out/results.h5")) as file:
        file["rounds/lr"][1] *= 0.9
    refused = run("out", "rounds=5", "--resume")
    assert (refused.exit_code, "of another version of mpifl" in refused.stderr) == (2, True)
    assert run("out", "rounds=5", "--resume", ALLOW).exit_code == 0
    assert "another version" in Run.open("out").other_schedule


def by_version_0_1(out: str) -> None:
    """Say in a run's file that version 0.1.0 trained it."""
    with edited(Path(out, "results.h5")) as file:
        file["provenance"].attrs["version_mpifl"] = "0.1.0"


@pytest.mark.parametrize("option", [HYBRIDS["cosine"], HYBRIDS["scheduled zeta"]])
def test_a_run_begun_under_the_cosine_of_version_0_1_is_refused_or_marked(folder, option):
    assert run("out", option).exit_code == 0
    by_version_0_1("out")
    refused = run("out", option, "--resume")
    assert (refused.exit_code, "of another version of mpifl" in refused.stderr) == (2, True)
    assert run("out", option, "--resume", ALLOW).exit_code == 0
    assert "another version" in Run.open("out").other_schedule


@pytest.mark.parametrize("option", [HYBRIDS["milestones"], "local.schedule=constant"])
def test_a_run_of_version_0_1_whose_factors_are_the_same_today_goes_on(folder, option):
    assert run("out", option).exit_code == 0
    by_version_0_1("out")
    assert run("out", option, "--resume").exit_code == 0
    assert Run.open("out").other_schedule == ""


@pytest.mark.parametrize(
    ("option", "groups"),
    [
        (HYBRIDS["cosine"], 2),
        (HYBRIDS["scheduled zeta"], 2),
        (HYBRIDS["milestones"], 1),
        ("local.schedule=constant", 1),
    ],
)
def test_runs_of_version_0_1_repeat_runs_of_today_where_their_factors_are_equal(
    folder, option, groups
):
    assert run("old", option).exit_code == 0
    assert run("new", option, "seed=1").exit_code == 0
    by_version_0_1("old")
    assert len(group(open_runs(["old", "new"]))) == groups


def test_the_version_of_a_round_is_that_of_the_last_resume_before_it(folder):
    assert run("out", "rounds=2").exit_code == 0
    by_version_0_1("out")
    assert run("out", "rounds=4", "--resume").exit_code == 0
    found = Run.open("out")
    versions = [found.version_of(round) for round in (1, 2, 3, 4)]
    assert versions == ["0.1.0", "0.1.0", mpifl.__version__, mpifl.__version__]


def test_a_run_of_before_an_option_was_added_repeats_one_that_has_its_default(folder):
    assert run("old").exit_code == 0
    assert run("new", "seed=1").exit_code == 0
    assert run("held", "seed=2", "holdout.ratio=4").exit_code == 0
    with edited(Path("old/results.h5")) as file:
        config = tomllib.loads(file.attrs["config"])
        del config["holdout"]
        file.attrs["config"] = tomli_w.dumps(config)
    groups = group(open_runs(["old", "new", "held"]))
    assert [len(members) for members in groups] == [2, 1]
    assert [members.label for members in groups] == ["ratio=0", "ratio=4"]
