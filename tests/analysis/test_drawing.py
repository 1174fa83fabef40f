"""Figures: what is drawn is what was measured, in every format, and the same each time."""

import base64
import json
import re

import matplotlib
import numpy as np
import pytest

from mpifl.analysis.clients.drift import agreement, drift
from mpifl.analysis.clients.features import features, subset
from mpifl.analysis.clients.panels import drift_panels, feature_panels
from mpifl.analysis.figures.matplotlib_figures import COLOURS, FORMATS, figure, matrices, rendered
from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.figures.plotly_page import page
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.analysis.models.reload import reload_run
from mpifl.analysis.runs.curves import curve_panels
from mpifl.analysis.runs.groups import group

BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def groups(opened):
    return group([opened(name) for name in ("avg-1", "avg-2", "man-1", "man-2")])


@pytest.fixture(scope="module")
def panels(groups):
    return curve_panels(groups, ["accuracy", "loss"], ["round", "bytes"], log=["loss"])


def test_lines_are_means_and_areas_bands(panels):
    drawn = figure(panels)
    assert len(drawn.axes) == 4
    for axes, panel in zip(drawn.axes, panels, strict=True):
        assert (axes.get_xlabel(), axes.get_ylabel()) == (panel.x_title, panel.y_title)
        for number, (line, area, trace) in enumerate(
            zip(axes.lines, axes.collections, panel.traces, strict=True)
        ):
            assert line.get_xdata() == pytest.approx(trace.x) and line.get_ydata() == pytest.approx(
                trace.mean
            )
            assert line.get_color() == COLOURS[number]
            corners = area.get_paths()[0].vertices[:, 1]
            assert corners.min() == pytest.approx(panel.band(trace)[0].min(), rel=1e-6)
            assert corners.max() == pytest.approx(panel.band(trace)[1].max(), rel=1e-6)
    assert [axes.get_yscale() for axes in drawn.axes] == ["linear", "linear", "log", "log"]
    legend = drawn.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["ce", "ce + man"]
    assert legend.get_title().get_text() == "mean ± standard deviation of 2 runs"


def test_accuracies_end_at_100_and_marks_are_drawn():
    trace = Trace("a", np.array([1.0, 2.0]), np.array([[90.0, 99.0], [99.0, 100.0]]))
    axes = figure([Panel("round", "accuracy, %", [trace], limits=(0, 100), marks=[95.5])]).axes[0]
    assert axes.get_ylim()[1] == 100 and axes.lines[1].get_ydata() == [95.5, 95.5]


@pytest.mark.parametrize("form", FORMATS)
def test_a_figure_is_the_same_bytes_each_time_whatever_matplotlib_is_set_to(panels, form):
    once = bytes(rendered(figure(panels), form))
    with matplotlib.rc_context({"font.size": 20, "axes.grid": False, "savefig.dpi": 30}):
        again = bytes(rendered(figure(panels), form))
    assert once.startswith(BEGINNINGS[form]) and len(once) > 5000
    assert once == again


def test_drift_is_drawn_by_round_and_by_layer(groups):
    found = {g.label: [drift(run) for run in g.runs] for g in groups}
    panels = drift_panels(found)
    runs = found["ce"]
    by_round, _, agree, by_layer, _ = (panel.traces[0] for panel in panels)
    assert by_round.x.tolist() == [2, 4]
    assert by_round.values == pytest.approx(
        np.stack([np.nanmean(run["drift_whole"], 1) for run in runs])
    )
    assert agree.values == pytest.approx(np.stack([agreement(run["cosine_whole"]) for run in runs]))
    expected = [np.nanmean(run["drift"][-1] / run["scale"][-1], 0) for run in runs]
    assert by_layer.values == pytest.approx(np.stack(expected))
    axes = figure(panels, 3).axes[3]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(panels[3].names)
    assert panels[3].names[0] == "convolutions.0" and panels[3].title == "round 4"


def test_features_of_the_global_and_of_clients_models_are_drawn_apart(opened):
    of = reload_run(opened("man-1"))
    look = features(of, [2, 4], None, lambda client: subset(of.dataset.test, 60))
    whole, clients = feature_panels({"man": [look]}), feature_panels({"man": [look]}, clients=True)
    mine = (look["client"] == GLOBAL) & (look["round"] == 4)
    theirs = (look["client"] != GLOBAL) & (look["round"] == 4)
    assert whole[0].traces[0].values[0] == pytest.approx(look["activation"][mine][0])
    assert clients[0].traces[0].values[0] == pytest.approx(look["activation"][theirs].mean(0))
    assert whole[2].traces[0].values[0, 1] == pytest.approx(look["effective_rank"][mine][0])
    assert clients[5].traces[0].values[0, 1] == pytest.approx(100 * look["accuracy"][theirs].mean())
    spectrum = whole[1].traces[0].values[0]
    assert np.isnan(spectrum).sum() >= 192 - 60, "what rounding leaves of zero is not drawn"
    assert (
        whole[0].title == "global model, round 4" and len(figure([*whole, *clients], 3).axes) == 12
    )


def test_squares_of_cosines_leave_the_diagonal_out():
    square = np.array([[1.0, 0.5], [0.5, 1.0]])
    drawn = matrices(["a"], [[3, 7]], [square], "cosine")
    [image] = drawn.axes[0].images
    assert np.ma.filled(image.get_array(), np.nan)[0, 1] == 0.5 and image.get_clim() == (-0.5, 0.5)
    assert [tick.get_text() for tick in drawn.axes[0].get_xticklabels()] == ["3", "7"]
    assert drawn.axes[0].get_ylabel() == "client"


def test_a_page_draws_all_panels_and_fetches_nothing(panels):
    named = Panel(
        "",
        "",
        [Trace("</script><b>", np.array([1.0, np.nan]), np.ones((1, 2)))],
        names=["one", "two"],
    )
    text = page([*panels, named], "a < b")
    data, layout = newest(text)
    assert {trace["yaxis"] for trace in data} == {"y", "y2", "y3", "y4", "y5"}
    assert [trace["name"] for trace in data if trace["showlegend"]] == [
        trace.label for trace in panels[0].traces
    ]
    means = [trace["y"] for trace in data if trace["mode"] == "lines+markers"]
    assert np.frombuffer(base64.b64decode(means[0]["bdata"])) == pytest.approx(
        panels[0].traces[0].mean
    )
    bands = [trace for trace in data if trace.get("fill") == "toself"]
    assert (
        len(bands)
        == sum(panel.band(trace) is not None for panel in panels for trace in panel.traces)
        > 0
    )
    assert layout["xaxis5"]["ticktext"] == ["one", "two"]
    assert layout["legend"]["title"]["text"] == "mean ± standard deviation of 1 to 2 runs"
    assert "</script><b>" not in text and "<title>a &lt; b</title>" in text
    assert not re.search(r"<(command|link|img)[^>]+(src|href)=", text)


def newest(text: str) -> tuple[list, dict]:
    """The data and the layout that the page hands to plotly."""
    decoder, handed = json.JSONDecoder(), text[text.rindex("Plotly.newPlot(") :]
    data, end = decoder.raw_decode(handed, handed.index("["))
    layout, _ = decoder.raw_decode(handed, handed.index("{", end))
    return data, layout
