"""Figures: what is drawn is what was measured, in every format, and the same each time."""

import json
import re

import matplotlib
import numpy as np
import pytest

from mpifl.analysis.clients.agreement import agreement
from mpifl.analysis.clients.drift import drift
from mpifl.analysis.clients.features import features, subset
from mpifl.analysis.clients.panels import drift_panels, feature_panels
from mpifl.analysis.clients.saving import draw
from mpifl.analysis.clients.selection import Selection
from mpifl.analysis.figures.matplotlib_figures import FORMATS, figure, matrices, rendered
from mpifl.analysis.figures.panels import COLOURS, Panel, Trace
from mpifl.analysis.figures.plotly_figures import panel_figure
from mpifl.analysis.figures.plotly_page import page
from mpifl.analysis.figures.plotly_theme import log_ticks
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


def test_a_line_has_a_gap_where_a_value_is_not_known():
    trace = Trace("one", np.arange(4.0), np.array([[1.0, np.nan, 2.0, 3.0]]), ["one"])
    [axes] = figure([Panel("x", "y", [trace])], across=1).axes
    assert np.isnan(axes.lines[0].get_ydata()[1])


def test_accuracies_end_at_100_and_marks_are_drawn():
    trace = Trace("a", np.array([1.0, 2.0]), np.array([[90.0, 99.0], [99.0, 100.0]]))
    axes = figure([Panel("round", "accuracy, %", [trace], limits=(0, 100), marks=[95.5])]).axes[0]
    assert axes.get_ylim()[1] == 100 and axes.lines[1].get_ydata() == [95.5, 95.5]


@pytest.mark.slow
@pytest.mark.parametrize("count", range(2, 8))
def test_a_legend_is_no_wider_than_its_figure(count):
    labels = ["FedAvg", "FedAvg+MAN", "FedSAM", "FedSAM+MAN", "FedDyn", "FedDyn+MAN", "FedAvg+SWA"]
    x = np.arange(2.0)
    panel = Panel("x", "y", [Trace(label, x, np.zeros((1, 2))) for label in labels[:count]])
    drawn = figure([panel])
    drawn.draw_without_rendering()
    box = drawn.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= drawn.bbox.width


@pytest.mark.slow
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
    figures = handed_to_plotly(text)
    assert len(figures) == 5
    for (data, layout), panel in zip(figures, panels, strict=False):
        means = [trace for trace in data if trace["mode"] == "lines+markers"]
        for drawn, trace in zip(means, panel.traces, strict=True):
            assert drawn["y"] == pytest.approx(trace.mean)
            assert drawn["name"] == trace.label
        bands = [trace for trace in data if trace.get("fill") == "toself"]
        expected = [panel.band(trace) for trace in panel.traces]
        assert len(bands) == len([band for band in expected if band is not None]) > 0
        assert layout["xaxis"]["title"]["text"] == panel.x_title
    assert figures[4][1]["xaxis"]["ticktext"] == ["one", "two"]
    assert "mean ± standard deviation of 1 to 2 runs; faint: each run" in text
    assert "</script><b>" not in text
    assert "<title>a &lt; b</title>" in text
    assert not re.search(r"<(script|command|link|img)[^>]+(src|href)=", text)


def handed_to_plotly(text: str) -> list[tuple[list, dict]]:
    """The data and the layout of each figure that the page hands to plotly."""
    decoder = json.JSONDecoder()
    figures = []
    for handed in text.split("Plotly.newPlot(")[1:]:
        if "PlotlyConfig" in handed.partition("[")[0] or not handed.lstrip().startswith('"'):
            continue  # a call inside plotly's own code
        data, end = decoder.raw_decode(handed, handed.index("["))
        layout, _ = decoder.raw_decode(handed, handed.index("{", end))
        figures.append((data, layout))
    return figures


def test_a_page_fits_a_narrow_screen(panels):
    text = page(panels, "curves")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert text.count('<figure class="plane">') == len(panels), "each panel finds its own place"
    assert text.count('sendChartToCloud", "select2d') == len(panels), "no button sends data away"


def test_a_legend_names_each_group_once_for_all_figures(panels):
    text = page(panels, "curves")
    buttons = re.findall(r'<button[^>]+data-group="(\d)".*?</svg>(.*?)</button>', text)
    assert buttons == [("0", "ce"), ("1", "ce + man")]
    for data, _ in handed_to_plotly(text):
        assert {(trace["legendgroup"], trace["name"]) for trace in data} == set(buttons)


def read_at(drawn: dict, place: int) -> list[str]:
    """The lines that are read where the pointer is at a point of a drawn line."""
    shown = drawn["hovertemplate"].removesuffix("<extra></extra>")
    shown = shown.replace("%{text}", drawn["text"][place])
    if "customdata" in drawn:
        shown = shown.replace("%{customdata}", drawn["customdata"][place])
    x = drawn["x"][place]
    return re.sub(r"%\{x:[^}]*\}", f"{x:.4g}", shown).split("<br>")


def test_hovering_reads_the_value_its_spread_its_unit_and_the_run(panels):
    data = panel_figure(panels[1])["data"]
    trace = panels[1].traces[0]
    [mean, *_] = [drawn for drawn in data if drawn["mode"] == "lines+markers"]
    spread = np.std(trace.values[:, 3], ddof=1)
    sent = f"sent up and down {trace.x[3]:.4g} {panels[1].x_unit}"
    assert read_at(mean, 3) == [
        "<b>ce</b>",
        f"test accuracy {trace.mean[3]:.4g} ± {spread:.2g} %",
        sent,
        "mean ± standard deviation of 2 runs",
    ]
    runs = [drawn for drawn in data if drawn["line"].get("width") == 1]
    assert read_at(runs[1], 3) == [
        "<b>ce</b>",
        f"test accuracy {trace.values[1, 3]:.4g} %",
        sent,
        "avg-2, seed 2",
    ]


def test_hovering_a_single_run_reads_its_name_and_no_spread():
    trace = Trace("a", np.array([1.0]), np.array([[0.5]]), ["run-7, seed 7"])
    [drawn] = panel_figure(Panel("round", "loss", [trace]))["data"]
    assert read_at(drawn, 0) == ["<b>a</b>", "loss 0.5", "round 1", "run-7, seed 7"]


def test_hovering_reads_the_name_of_what_is_along_the_axis():
    trace = Trace("a", np.array([1.0, 2.0]), np.array([[0.5, 0.25]]))
    [drawn] = panel_figure(Panel("layer", "drift", [trace], names=["one", "two"]))["data"]
    assert read_at(drawn, 1) == ["<b>a</b>", "drift 0.25", "two", "run 1"]


def test_a_label_that_looks_like_a_template_is_shown_as_it_is():
    trace = Trace("50 %{x}", np.array([1.0]), np.array([[0.5]]))
    [drawn] = panel_figure(Panel("round", "loss", [trace]))["data"]
    assert read_at(drawn, 0)[0] == "<b>50 % {x}</b>"


@pytest.mark.parametrize(
    ("band", "value"), [("sem", "4 ± 1"), ("range", "4 (3 to 5)"), ("none", "4")]
)
def test_hovering_reads_the_spread_that_the_band_shows(band, value):
    trace = Trace("a", np.array([1.0]), np.array([[3.0], [5.0]]))
    drawn = panel_figure(Panel("round", "loss", [trace]), band)["data"][-1]
    assert read_at(drawn, 0)[1] == f"loss {value}"


def test_a_page_of_long_runs_is_not_much_larger_than_its_numbers():
    values = np.linspace(0, 1, 3000)[None] + np.arange(3)[:, None] / 7
    trace = Trace("a", np.arange(1.0, 3001), values)
    size = len(json.dumps(panel_figure(Panel("round", "loss", [trace]))))
    shown = 6 * 3000  # three runs, their mean, and both sides of the band
    assert size < 40 * shown


def test_a_published_value_is_a_line_that_can_be_read():
    trace = Trace("a", np.array([1.0, 9.0]), np.array([[90.0, 99.0]]))
    panel = Panel("round", "accuracy, %", [trace], marks=[95.5], y_unit="%")
    mark = panel_figure(panel)["data"][-1]
    assert (mark["x"], mark["y"]) == ([1.0, 9.0], [95.5, 95.5])
    assert mark["hovertemplate"] == "<b>a</b><br>published accuracy 95.5 %<extra></extra>"


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.3, 2.0], ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50"]),
        ([0.55, 0.81], ["0.5", "0.6", "0.7", "0.8", "0.9"]),
        ([0.0441, 0.0459], ["0.044", "0.0445", "0.045", "0.0455", "0.046"]),
        ([1e-3, 10.0], ["0.001", "0.01", "0.1", "1", "10"]),
        ([0.0, np.nan], []),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_written_in_full(values, ticks):
    assert log_ticks(np.array(values)).get("ticktext", []) == ticks


def test_the_figures_of_features_know_the_names_of_their_runs(groups):
    drawn = draw(groups, Selection(), ["drift"])
    assert [trace.runs for trace in drawn.figures["drift"][0].traces] == [
        ["avg-1, seed 1", "avg-2, seed 2"],
        ["man-1, seed 1", "man-2, seed 2"],
    ]
