"""Figures of a single run: what is drawn is what the run has stored."""

from dataclasses import replace

import numpy as np
import pytest

from mpifl.analysis.figures.plotly_page import document, grid
from mpifl.analysis.figures.plotly_theme import THEME
from mpifl.analysis.runs.run_figures import time_figure
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


def test_phases_add_up_to_the_round(run):
    training, rest = time_figure(run)["data"]
    assert training["y"] == [1.5, 1.0, 1.0], "never more than the round"
    assert rest["y"] == [0.5, 2.0, 0.0]
    assert training["stackgroup"] == rest["stackgroup"]
    assert training["text"][0] == "<b>training</b><br>round 1: 1.5 s"


def test_a_run_without_rounds_has_no_times(run):
    with pytest.raises(BadInput, match="expected at least one round; got none"):
        time_figure(replace(run, rounds={"round": np.zeros(0, int)}))


def test_the_figure_makes_a_page_in_the_theme(opened):
    figure = time_figure(opened("avg-1"))
    assert figure["layout"]["font"] == THEME["font"]
    assert "plotly-graph-div" in document("a run", grid([figure]))
