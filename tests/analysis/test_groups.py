"""Grouping: seeds come together, methods apart, and what cannot be compared is refused."""

from dataclasses import replace

import pytest

from mpifl.analysis.runs.groups import group, open_runs, options
from mpifl.analysis.runs.labels import label
from mpifl.options import BadInput


@pytest.fixture
def runs(folder):
    return open_runs(folder / name for name in ("avg-1", "man-1", "avg-2", "man-2"))


def test_runs_that_differ_in_their_seeds_are_one_group_in_the_order_given(runs):
    groups = group(runs)
    assert [(g.label, [run.seed for run in g.runs]) for g in groups] == [
        ("ce", [1, 2]),
        ("ce + man", [1, 2]),
    ]


def test_groups_may_be_told_apart_by_chosen_options_and_be_given_names(runs):
    [all_of_them] = group(runs, by=["algorithm.name"])
    assert len(all_of_them) == 4 and all_of_them.label == "small"
    assert [g.label for g in group(runs, labels=["A", "B"])] == ["A", "B"]


def test_names_rounds_of_evaluation_and_devices_do_not_tell_methods_apart(runs):
    changed = (
        runs[2]
        .config.replace('name = "small"', 'name = "again"')
        .replace("commit_seconds = 5.0", "commit_seconds = 1.0")
    )
    assert changed != runs[2].config
    other = replace(runs[2], attrs={**runs[2].attrs, "config": changed})
    assert len(group([runs[0], other])) == 1


def test_moon_of_before_is_grouped_with_the_moon_that_has_no_model_at_first(runs):
    def with_loss(run, moon):
        config = run.config.replace('"ce(smoothing=0.0)"', f'"ce(smoothing=0.0) + {moon}"')
        assert config != run.config
        return replace(run, attrs={**run.attrs, "config": config})

    before = with_loss(runs[0], "moon(mu=1.0, tau=0.5)")
    none = with_loss(runs[2], "moon(mu=1.0, tau=0.5, first='none')")
    initial = with_loss(runs[2], "moon(mu=1.0, tau=0.5, first='initial')")
    assert len(group([before, none])) == 1
    assert len(group([before, initial])) == 2


FEDDYN = {
    "algorithm.name": "feddyn",
    "algorithm.alpha": 0.1,
    "local.loss": "ce",
    "model.name": "cnn",
    "model.norm": "none",
}
LABELS = [
    ({"algorithm.name": "fedavg"}, "feddyn"),
    ({"algorithm.alpha": 0.2}, "alpha=0.1"),
    ({"model.norm": "group"}, "norm=none"),
    ({"local.loss": "ce + man"}, "ce"),
    ({"algorithm.name": "fedavg", "local.loss": "ce + man"}, "feddyn"),
    ({"algorithm.alpha": 0.2, "model.norm": "group"}, "alpha=0.1, norm=none"),
    ({"rounds": 3}, ""),
]


@pytest.mark.parametrize(("change", "expected"), LABELS)
def test_a_label_says_what_sets_a_method_apart_and_no_more(change, expected):
    assert label(FEDDYN, [FEDDYN, FEDDYN | change]) == expected


def test_options_of_the_same_last_name_are_told_by_their_section():
    one, other = {"a.alpha": 1, "b.alpha": 1}, {"a.alpha": 2, "b.alpha": 2}
    assert label(one, [one, other]) == "a.alpha=1, b.alpha=1"


def test_options_are_flat_and_those_of_the_run(runs):
    assert (
        options(runs[0])["participation.kind"] == "bernoulli"
        and "man(zeta=0.3" in options(runs[1])["local.loss"]
    )


MISTAKES = {
    "none": ((), {}, "expected at least one run"),
    "twice": (("avg-1", "avg-1"), {}, "expected each run once"),
    "mixed data": (("avg-1", "other-data"), {}, "expected runs on the same data"),
    "no run": (("small.toml",), {}, "expected a run's folder"),
    "unknown option": (("avg-1",), {"by": ["local.los"]}, "did you mean local.loss"),
    "labels": (("avg-1", "man-1"), {"labels": ["A"]}, "label: expected 2"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line(folder, mistake):
    names, how, expected = MISTAKES[mistake]
    with pytest.raises(BadInput) as told:
        group(open_runs(folder / name for name in names), **how)
    assert expected in str(told.value) and "\n" not in str(told.value)


def test_the_same_method_and_seed_twice_is_refused(runs):
    again = replace(runs[0], attrs={**runs[0].attrs, "run_id": "another"})
    with pytest.raises(BadInput, match="each method and seed once"):
        group([*runs, again])
