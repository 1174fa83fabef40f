"""Pictures of classes, clients, calibration and partitions: what is drawn is what was counted."""

from dataclasses import replace

import numpy as np
import pytest

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.matplotlib_figures import figure
from mpifl.analysis.figures.panels import Panel, Trace, points
from mpifl.analysis.figures.plotly_figures import map_figure, panel_figure
from mpifl.analysis.figures.plotly_page import page
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.partition_pictures import partition_map, partition_pictures
from mpifl.analysis.runs.pictures import calibration_pictures, class_pictures, client_pictures
from mpifl.options import BadInput
from mpifl.store.round_tables import Cohorts

EVALUATIONS = {
    "round": np.array([2, 4]),
    "test_right_by_class": np.array([[1, 0, 0], [4, 3, 0]]),
    "test_samples_by_class": np.array([5, 6, 0]),
    "test_count_by_bin": np.array([[0, 5, 6], [0, 7, 4]]),
    "test_right_by_bin": np.array([[0, 1, 0], [0, 3, 4]]),
    "test_confidence_by_bin": np.array([[0, 2.5, 5.0], [0, 3.5, 3.6]]),
    "own_right_by_client": np.array([[0, 0, 0, 0, 0], [3, 0, 4, 1, 2]]),
    "own_samples_by_client": np.array([4, 0, 4, 4, 4]),
}


@pytest.fixture
def run(opened):
    """A run of five clients, of which the last never trains, with known counts."""
    trains = np.array([1, 1, 1, 1, 0])
    holdout = {"trains": trains, "indices": np.zeros(0, "i8"), "offsets": np.zeros(6, "i8")}
    return replace(opened("avg-1"), evaluations=EVALUATIONS, holdout=holdout)


def test_classes_have_the_last_accuracy_and_a_map_by_round(run):
    dots, heat = class_pictures([Group("avg", [run])])
    assert dots.traces[0].values[0] == pytest.approx([80, 50, np.nan], nan_ok=True)
    assert not dots.line
    assert heat.x.tolist() == [2, 4] and heat.y.tolist() == [0, 1, 2]
    assert heat.values[:2] == pytest.approx(np.array([[20, 80], [0, 50]]))
    assert [row["value"] for row in heat.points()] == [20, 80, 0, 50], "classes without samples"


def test_a_map_of_several_runs_is_their_mean(run):
    right = np.array([[3, 6, 0], [2, 3, 0]])
    other = replace(run, evaluations={**EVALUATIONS, "test_right_by_class": right})
    _, heat = class_pictures([Group("avg", [run, other])])
    assert heat.values[0] == pytest.approx([40, 60])


def test_clients_are_sorted_and_the_worst_tenth_is_marked(run):
    trained, unseen = client_pictures([Group("avg", [run])])
    assert trained.traces[0].values.tolist() == [[25, 75, 100]]
    assert trained.traces[0].texts == [
        ["client 3, 4 samples", "client 0, 4 samples", "client 2, 4 samples"]
    ]
    assert trained.shaded == (0.5, 1.5) and trained.shaded_as == "worst tenth"
    assert unseen.traces[0].values.tolist() == [[50]]
    rows = list(points([trained]))
    assert rows[0]["point"] == "client 3, 4 samples" and rows[0]["value"] == 25


def test_the_worst_tenth_of_twenty_three_clients_are_two(run):
    counts = np.arange(23)
    evaluations = {"own_right_by_client": counts[None], "own_samples_by_client": counts * 0 + 40}
    of_23 = replace(run, evaluations=evaluations, offsets=np.arange(24), holdout={})
    [panel] = client_pictures([Group("avg", [of_23])])
    assert panel.shaded == (0.5, 2.5)


def test_without_own_test_sets_clients_have_what_they_reported_last(run):
    accuracy = np.array([0.5, 0.9, 0.25, 0.75, np.nan], "f4")
    ids = np.array([0, 1, 1, 2, 0])
    clients = Cohorts(3, ids, np.array([0, 2, 4, 5]), {"accuracy": accuracy})
    rounds = {"round": np.array([1, 2, 3])}
    reported = replace(run, evaluations={}, clients=clients, rounds=rounds)
    [panel] = client_pictures([Group("avg", [reported])])
    assert panel.traces[0].values.tolist() == [[25, 50, 75]]
    assert panel.traces[0].texts[0][0] == "client 1, round 2"
    assert "training batches" in panel.title
    silent = replace(reported, clients=replace(clients, reported={}))
    with pytest.raises(BadInput, match="expected accuracies of clients; got none"):
        client_pictures([Group("avg", [silent])])


def test_a_reliability_diagram_has_the_bins_that_have_samples(run):
    reliability, samples = calibration_pictures([Group("avg", [run])])
    [trace] = reliability.traces
    assert trace.x == pytest.approx([50, 90])
    assert trace.values[0] == pytest.approx([100 * 3 / 7, 100])
    assert trace.label == "avg, error 8.2 %"  # (0.5 + 0.4) / 11
    assert reliability.diagonal and not samples.diagonal
    assert samples.traces[0].values[0] == pytest.approx([100 * 7 / 11, 100 * 4 / 11])


def test_a_run_without_counts_is_refused(run):
    bare = Group("avg", [replace(run, evaluations={})])
    with pytest.raises(BadInput, match="expected test_right_by_class in /evaluations; got none"):
        class_pictures([bare])
    with pytest.raises(BadInput, match="expected train_count_by_bin in /evaluations; got none"):
        calibration_pictures([Group("avg", [run])], "train")


def test_a_partition_is_a_map_of_counts_by_client_and_class(run):
    counts = np.array([[3, 1], [0, 4], [2, 2]])
    of_three = replace(run, label_counts=counts)
    [heat] = partition_pictures([Group("avg", [of_three]), Group("man", [of_three])])
    assert heat.title == "avg, seed 1, and 1 more"
    assert heat.values.tolist() == counts.tolist() and heat.limits == (0, 4)
    drawn = map_figure(heat)
    [cells] = drawn["data"]
    assert cells["customdata"][0][0] == (
        "<b>client 0</b><br>class 0: 3 samples<br>75.00 % of its samples"
    )
    assert drawn["layout"]["yaxis"]["tickvals"] == [0, 1, 2], "no half clients"


def test_a_client_without_samples_is_drawn_too():
    heat = partition_map(np.array([[3, 1], [0, 0]]))
    assert "0 samples<br>0.00 %" in heat.texts[1][0]


@pytest.mark.slow
def test_very_many_clients_are_drawn_by_means_of_neighbours():
    heat = partition_map(np.tile([[2, 0], [4, 0]], (100_000, 1)))
    assert len(heat.values) == 100_000
    assert heat.values[7].tolist() == [3, 0] and heat.y[7] == 14
    assert heat.texts[7][0].startswith("<b>clients 14 to 15</b>")


def test_matplotlib_draws_maps_marks_and_the_diagonal():
    heat = HeatMap("m", "round", "class", "%", np.array([2, 4]), np.arange(3), np.eye(3, 2), (0, 1))
    trace = Trace("a", np.array([1.0, 2.0]), np.array([[90.0, 99.0]]))
    panel = Panel("x", "y", [trace], shaded=(0.5, 1.5), shaded_as="worst", diagonal=True)
    dots = Panel("x", "y", [trace], line=False)
    of_panel, of_dots, of_map, *_ = figure([panel, dots, heat]).axes
    assert of_map.get_images()[0].get_array().tolist() == np.eye(3, 2).tolist()
    assert of_map.xaxis.get_major_formatter()(1) == "4"
    assert of_map.xaxis.get_major_formatter()(0.5) == ""
    assert [text.get_text() for text in of_panel.texts] == [" worst"]
    assert len(of_panel.lines) == 2
    assert of_dots.lines[0].get_linestyle() == "None"


def test_a_page_shows_maps_marks_and_the_names_of_points():
    heat = HeatMap("m", "round", "class", "%", np.array([2, 4]), np.arange(3), np.eye(3, 2), (0, 1))
    trace = Trace("a", np.array([1.0]), np.array([[90.0]]), texts=[["client 7"]])
    panel = Panel("x", "y", [trace], shaded=(0.5, 1.5), shaded_as="worst", diagonal=True)
    panel = replace(panel, limits=(0, 100))
    drawn = panel_figure(panel)
    diagonal, points = drawn["data"]
    assert diagonal["x"] == diagonal["y"] == [0, 100]
    assert points["text"] == ["90 (client 7)"]
    assert [shape["type"] for shape in drawn["layout"]["shapes"]] == ["rect"]
    assert drawn["layout"]["annotations"][0]["text"] == "worst"
    assert "class %{y}, round %{x}" in map_figure(heat)["data"][0]["hovertemplate"]
    text = page([heat, panel], "both")
    assert text.count('class="plotly-graph-div"') == 2 and '<div class="legend">' not in text


@pytest.mark.slow
@pytest.mark.parametrize("what", ["classes", "clients", "calibration", "partition"])
def test_the_command_draws_each_picture(command, tmp_path, what):
    code, _, _ = command("curves", "avg-1", "man-1", "--what", what, "-o", "a.csv", "-o", "a.png")
    assert code == 0
    assert len((tmp_path / "a.csv").read_text().splitlines()) > 2
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_options_of_curves_are_refused_with_other_pictures(command):
    code, _, err = command("curves", "avg-1", "--what", "classes", "--y", "loss")
    assert code == 2 and "--what classes: expected it without --y" in err
    code, _, err = command("curves", "avg-1", "--on", "own")
    assert code == 2 and "--on: expected it with --what classes or calibration; got curves" in err


def test_a_plan_draws_the_partition_before_a_run(command, folder, tmp_path):
    config = str(folder / "small.toml")
    code, _, _ = command("plan", config, "--no-timing", "--picture", "p.csv")
    assert code == 0
    head, first, *rest = (tmp_path / "p.csv").read_text().splitlines()
    assert head == "quantity,of,client,class,value" and first.startswith("training samples,small,0")
    assert len(rest) == 5 * 10 - 1
    code, _, err = command("plan", config, "--picture", "p.txt")
    assert code == 2 and "p.txt: expected a name ending in .png" in err
