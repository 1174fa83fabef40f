"""Figures of a single run: what is drawn is what the run has stored."""

from dataclasses import replace

import numpy as np
import pytest

from mpifl.analysis.figures.plotly_figures import THEME
from mpifl.analysis.figures.plotly_page import document, grid
from mpifl.analysis.runs.run_figures import client_accuracy_figure, partition_figure, time_figure
from mpifl.options import BadInput
from mpifl.store.round_tables import Cohorts


@pytest.fixture
def run(opened):
    """A run of three clients and three rounds, with known numbers."""
    accuracy = np.array([0.5, 0.9, 0.25, 0.75, np.nan], "f4")
    ids = np.array([0, 1, 1, 2, 0])
    clients = Cohorts(3, ids, np.array([0, 2, 4, 5]), {"accuracy": accuracy})
    seconds = {"seconds": [2.0, 3.0, 1.0], "seconds_train": [1.5, 1.0, 1.25]}
    rounds = {name: np.array(values) for name, values in seconds.items()}
    return replace(
        opened("avg-1"),
        clients=clients,
        rounds={"round": np.array([1, 2, 3]), **rounds},
        label_counts=np.array([[3, 1], [0, 4], [2, 2]]),
        offsets=np.array([0, 4, 8, 12]),
    )


def test_a_partition_is_a_map_of_counts_by_client_and_class(run):
    drawn = partition_figure(run)
    [heat] = drawn["data"]
    assert heat["z"] == [[3, 1], [0, 4], [2, 2]]
    assert (heat["x"], heat["y"]) == ([0, 1], [0, 1, 2])
    assert heat["customdata"][0][0] == (
        "<b>client 0</b><br>class 0: 3 samples<br>75.00 % of its samples"
    )
    assert drawn["layout"]["xaxis"]["title"]["text"] == "class"
    assert drawn["layout"]["yaxis"]["dtick"] == 1, "no half clients"


def test_a_client_without_samples_is_drawn_too(run):
    empty = replace(run, label_counts=np.array([[3, 1], [0, 0]]))
    [heat] = partition_figure(empty)["data"]
    assert "0 samples<br>0.00 %" in heat["customdata"][1][0]


def test_very_many_clients_are_drawn_by_means_of_neighbours(run):
    many = replace(run, label_counts=np.tile([[2, 0], [4, 0]], (100_000, 1)))
    [heat] = partition_figure(many)["data"]
    assert len(heat["z"]) == 100_000
    assert heat["z"][7] == [3, 0]
    assert heat["y"][7] == 14
    assert heat["customdata"][7][0].startswith("<b>clients 14 to 15</b>")


def test_clients_are_sorted_by_their_latest_known_accuracy(run):
    drawn = client_accuracy_figure(run)
    [points] = drawn["data"]
    assert points["y"] == pytest.approx([25, 50, 75])
    assert points["text"] == [
        "<b>client 1</b><br>25.00 % at round 2<br>4 samples",
        "<b>client 0</b><br>50.00 % at round 1<br>4 samples",
        "<b>client 2</b><br>75.00 % at round 2<br>4 samples",
    ]
    assert "training batches" in drawn["layout"]["title"]["text"]


def test_test_accuracies_of_clients_go_before_those_on_training_batches(opened):
    drawn = client_accuracy_figure(opened("avg-1"))
    assert "test accuracy" in drawn["layout"]["title"]["text"]


def test_a_run_whose_clients_reported_nothing_is_refused(run):
    silent = replace(run, clients=replace(run.clients, reported={}))
    with pytest.raises(BadInput, match="expected accuracies of clients; got none"):
        client_accuracy_figure(silent)


def test_phases_add_up_to_the_round(run):
    training, rest = time_figure(run)["data"]
    assert training["y"] == [1.5, 1.0, 1.0], "never more than the round"
    assert rest["y"] == [0.5, 2.0, 0.0]
    assert training["stackgroup"] == rest["stackgroup"]
    assert training["text"][0] == "<b>training</b><br>round 1: 1.5 s"


def test_a_run_without_rounds_has_no_times(run):
    with pytest.raises(BadInput, match="expected at least one round; got none"):
        time_figure(replace(run, rounds={"round": np.zeros(0, int)}))


def test_the_figures_make_a_page_in_one_theme(opened):
    run = opened("avg-1")
    figures = [partition_figure(run), client_accuracy_figure(run), time_figure(run)]
    assert all(figure["layout"]["font"] == THEME["font"] for figure in figures)
    assert document("a run", grid(figures)).count("plotly-graph-div") >= 3
