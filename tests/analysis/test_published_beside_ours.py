"""Published numbers beside runs that are, and are no longer, the published experiment."""

import csv
import io
import math
from dataclasses import replace

import pytest

from mpifl.analysis.runs.comparison import compare
from mpifl.analysis.runs.curves import curve_panels
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.published import departure_notes, with_published_accuracy
from mpifl.analysis.runs.table_formats import FORMATS
from mpifl.runner import schema
from mpifl.runner.published import CONFIGS

FEDAVG = CONFIGS / "man/cifar100-dir0.3/fedavg.toml"
PUBLISHED = 49.9


@pytest.fixture
def run_of(opened):
    """run_of(override, ...) -> Run that claims to be of FEDAVG, with all its rounds done"""

    def make(*overrides: str):
        text = schema.text(schema.resolve(schema.raw(str(FEDAVG), overrides)))
        run = opened("avg-1")
        known = {**run.rounds, "round": run.rounds["round"] * 125}  # the last is 500
        provenance = {**run.provenance, "data_source": "torchvision.datasets.CIFAR100"}
        attrs = {**run.attrs, "config": text}
        return replace(run, attrs=attrs, rounds=known, provenance=provenance)

    return make


def test_the_published_experiment_has_a_difference(run_of):
    table = compare([Group("avg", [run_of()])])
    [row] = table.rows
    assert row.departures == []
    assert row.difference("final_accuracy") == pytest.approx(
        row.figures["final_accuracy"].mean - PUBLISHED
    )
    assert not any("not the published experiment" in note for note in table.notes)


def test_a_run_with_overridden_options_has_no_difference_and_says_why(run_of):
    table = compare([Group("avg", [run_of("clients=50", "local.lr=0.2")])])
    [row] = table.rows
    assert math.isnan(row.difference("final_accuracy"))
    assert row.published["final_accuracy"].value == PUBLISHED
    note = (
        "avg: not the published experiment, so not compared with it: "
        "clients = 50 (published: 100); local.lr = 0.2 (published: 0.1)"
    )
    assert note in table.notes
    assert "+" not in FORMATS["md"](table).splitlines()[2]
    [cells] = csv.DictReader(io.StringIO(FORMATS["csv"](table)))
    assert cells["final_accuracy_difference"] == ""
    assert "clients = 50" in cells["not_the_published_experiment"]


def test_one_overridden_run_of_a_group_is_enough(run_of):
    table = compare([Group("avg", [run_of(), run_of("rounds=300", "seed=2")])])
    assert table.rows[0].departures == ["rounds = 300 (published: 500)"]


def test_a_run_that_has_not_played_all_rounds_has_no_difference(run_of):
    run = run_of()
    stopped = replace(run, rounds={name: column[:2] for name, column in run.rounds.items()})
    table = compare([Group("avg", [stopped])])
    assert table.rows[0].departures == ["seed 1 has 250 of 500 rounds"]


def test_runs_that_quote_different_numbers_are_compared_with_none(run_of):
    other = run_of("published.top1_acc=60.0", "seed=2")
    assert compare([Group("avg", [run_of(), other])]).rows[0].published == {}


def test_curves_mark_no_published_accuracy_of_another_experiment(run_of):
    same = Group("same", [run_of()])
    other = Group("other", [run_of("rounds=300")])
    [panel] = curve_panels([same, other], ["accuracy"])
    assert with_published_accuracy(panel, [same, other]).marks == [PUBLISHED, None]
    [note] = departure_notes([same, other])
    assert note.startswith("other: not the published experiment")


def test_rounds_to_a_target_that_the_paper_does_not_state_have_no_difference(run_of):
    unstated = run_of("published.rounds_to_target=7")
    table = compare([Group("avg", [unstated])], target=0.1)
    [row] = table.rows
    assert row.published["rounds_to_target"].value == 7
    assert math.isnan(row.difference("rounds_to_target"))
    assert any("does not state" in note for note in table.notes)


def test_rounds_to_a_target_that_the_paper_states_have_a_difference(run_of):
    stated = run_of("published.rounds_to_10pct=7")
    table = compare([Group("avg", [stated])], target=0.1)
    [row] = table.rows
    assert row.difference("rounds_to_target") == row.figures["rounds_to_target"].mean - 7
    assert not any("does not state" in note for note in table.notes)
