"""Curves: what is in the file, added up and averaged as numpy does it."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from mpifl.analysis.figures.panels import Panel, Trace, points
from mpifl.analysis.runs.curves import curve, curve_panels
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.series import quantities, series
from mpifl.options import BadInput


@pytest.fixture
def pair(opened) -> Group:
    return Group("avg", [opened("avg-1"), opened("avg-2")])


@pytest.fixture
def stored(folder):
    """stored(name, path) -> the array in the run's file"""

    def read(name: str, path: str) -> np.ndarray:
        with h5py.File(folder / name / "results.h5") as file:
            return file[path][...]

    return read


def test_a_series_is_the_column_and_costs_add_up(opened, stored):
    run = opened("avg-1")
    assert series(run, "accuracy")[1].tolist() == stored("avg-1", "rounds/test_accuracy").tolist()
    both = stored("avg-1", "rounds/bytes_up") + stored("avg-1", "rounds/bytes_down")
    assert series(run, "bytes")[1].tolist() == np.cumsum(both).tolist()
    assert series(run, "seconds")[1] == pytest.approx(np.cumsum(stored("avg-1", "rounds/seconds")))


def test_the_training_loss_is_the_weighted_mean_over_the_rounds_clients(opened, stored):
    loss, weight = stored("avg-1", "clients/loss"), stored("avg-1", "clients/weight")
    took_part = stored("avg-1", "clients/participated") == 1
    rows = zip(loss.astype("f8"), weight.astype("f8"), took_part, strict=True)
    expected = [(w[p] * l[p]).sum() / w[p].sum() for l, w, p in rows]
    assert series(opened("avg-1"), "training_loss")[1] == pytest.approx(expected)


def test_every_quantity_on_offer_can_be_had(opened):
    run = opened("avg-1")
    for quantity in quantities(run):
        rounds, values = series(run, quantity)
        assert len(rounds) == len(values) == 4


def test_a_curve_is_the_mean_over_seeds_at_the_mean_of_their_costs(pair, stored):
    trace = curve(pair, "accuracy", "bytes")
    values = np.stack([stored(name, "rounds/test_accuracy") for name in ("avg-1", "avg-2")])
    assert trace.values == pytest.approx(values)
    assert trace.mean == pytest.approx(values.mean(0)) and trace.std == pytest.approx(
        values.std(0, ddof=1)
    )
    assert trace.x == pytest.approx(np.mean([series(run, "bytes")[1] for run in pair.runs], 0))


def test_seeds_evaluated_at_other_rounds_meet_at_those_they_share(pair):
    accuracy = np.array([np.nan, 0.2, np.nan, 0.4])
    sparse = replace(pair.runs[1], rounds={**pair.runs[1].rounds, "test_accuracy": accuracy})
    trace = curve(Group("avg", [pair.runs[0], sparse]), "accuracy")
    assert trace.x.tolist() == [2, 4] and trace.values[1].tolist() == [0.2, 0.4]


def test_panels_are_in_units_for_people(pair):
    accuracy, bytes_ = curve_panels([pair], ["accuracy", "bytes"], ["seconds"])
    assert (accuracy.x_title[:6], accuracy.y_title, accuracy.limits) == (
        "time, ",
        "test accuracy, %",
        (0, 100),
    )
    assert bytes_.y_title == "sent up and down, MB"
    assert bytes_.traces[0].mean[-1] == pytest.approx(curve(pair, "bytes").mean[-1] / 1e6)


BANDS = {
    "std": ([-1.0, 80], [3.0, 120]),
    "sem": ([0.0, 90], [2.0, 110]),
    "range": ([-1.0, 80], [3.0, 120]),
    "none": None,
}


def test_a_logarithmic_axis_for_what_is_not_drawn_is_refused(pair):
    with pytest.raises(BadInput, match=r"log: expected .*drawn \(accuracy, loss\); got zzz"):
        curve_panels([pair], ["accuracy", "loss"], log=["loss", "zzz"])


@pytest.mark.parametrize("column", ["participation_gap", "generalisation_gap_loss"])
def test_a_gap_below_zero_is_drawn(column, pair):
    for run in pair.runs:
        run.rounds[column] = np.linspace(-0.2, 0.1, len(run.rounds["round"]))
    [panel] = curve_panels([pair], [column])
    assert panel.limits[0] < -20
    percent = 1 if column.endswith("_loss") else 100
    assert panel.traces[0].mean.min() == pytest.approx(-0.2 * percent)


def test_a_quantity_that_a_run_did_not_measure_names_the_option_that_does(pair):
    with pytest.raises(BadInput, match=r"runs with \[holdout\] measure it"):
        series(pair.runs[0], "own_accuracy_pooled")


@pytest.mark.parametrize("kind", BANDS)
def test_bands_are_what_they_say(kind):
    trace = Trace(
        "x",
        np.array([1.0, 2.0]),
        np.array([[1 - 2**0.5, 100 - 20 / 2**0.5], [1 + 2**0.5, 100 + 20 / 2**0.5]]),
    )
    if kind == "none":
        assert trace.band(kind) is None
        return
    half = {"std": [2, 20], "sem": [2**0.5, 20 / 2**0.5], "range": [2**0.5, 20 / 2**0.5]}[kind]
    low, high = trace.band(kind)
    assert low == pytest.approx(trace.mean - half) and high == pytest.approx(trace.mean + half)


def test_a_band_stays_where_values_can_be_and_above_zero_on_a_logarithmic_axis():
    trace = Trace("x", np.array([1.0]), np.array([[1.0], [99.0]]))
    assert [end.tolist() for end in Panel("", "", [trace], limits=(0, 100)).band(trace)] == [
        [0],
        [100],
    ]
    low, _ = Panel("", "", [trace], log=True).band(trace)
    assert low.tolist() == [1.0]
    assert Trace("x", np.array([1.0]), np.array([[1.0]])).band() is None


def test_points_have_every_number_of_every_run(pair):
    [panel] = curve_panels([pair], ["accuracy"])
    rows = list(points([panel]))
    assert len(rows) == 8 and rows[5] == {
        "quantity": "test accuracy, %",
        "of": "",
        "over": "round",
        "group": "avg",
        "run": 2,
        "x": 2.0,
        "value": panel.traces[0].values[1, 1],
    }


def test_a_run_without_evaluations_and_an_unknown_quantity_are_told(opened):
    run = opened("avg-1")
    unevaluated = replace(run, rounds={**run.rounds, "test_accuracy": np.full(4, np.nan)})
    with pytest.raises(BadInput, match="got none in 4 rounds; it has no evaluation yet"):
        series(unevaluated, "accuracy")
    with pytest.raises(BadInput, match="did you mean accuracy"):
        series(run, "acuracy")
