"""Landscapes in pictures and on pages: marks, names, ticks and colours of lines and planes."""

from dataclasses import replace

import numpy as np
import pytest

from mpifl.analysis.figures.plotly_theme import THEME
from mpifl.analysis.landscape.matplotlib_figures import figure
from mpifl.analysis.landscape.panels import loss_scales, name_in_panel, together
from mpifl.analysis.landscape.plotly_figures import page_figure
from mpifl.analysis.landscape.values import Landscape


def line_between(loss, name: str = "to there") -> Landscape:
    """A line on which a model lies at 0 and another run's at 1."""
    at = np.linspace(-0.25, 1.25, 7)
    marks = {"here": (0.0,), name: (1.0,)}
    return Landscape("", (name,), (at,), np.array(loss, float), np.full(7, 0.9), marks)


def plane_of(loss) -> Landscape:
    side = np.linspace(-1, 1, 3)
    marks = {"here": (0.0, 0.0), "to there": (1.0, 0.0)}
    return Landscape("", ("first's", "second"), (side, side), loss, loss / 100, marks)


def test_the_ends_of_a_line_to_another_run_are_marked():
    line = line_between([3, 2, 1, 2, 3, 2, 1])
    drawn = page_figure([line])
    _, accuracy, marks = drawn["data"]
    assert marks["mode"] == "markers"
    assert marks["x"] == [0, 1]
    assert marks["y"] == pytest.approx([2, 2])
    assert marks["text"] == ["<b>here</b>", "<b>to there</b>"]
    assert [shape["x0"] for shape in drawn["layout"]["shapes"]] == [0, 1]
    assert accuracy["y"] == pytest.approx([90] * 7), "in percent, as on the page of curves"
    assert drawn["layout"]["yaxis2"]["tickmode"] == "auto", "round ticks of its own"
    uprights = [x.get_xdata()[0] for x in figure([[line]]).axes[0].lines if x.get_ls() == ":"]
    assert uprights == [0, 1]


def test_the_page_of_landscapes_has_the_theme_of_the_page_of_curves():
    for panel in ([line_between([1] * 7)], [plane_of(np.ones((3, 3)))]):
        layout = page_figure(panel)["layout"]
        assert layout["font"] == THEME["font"]
        assert layout["paper_bgcolor"] == THEME["paper_bgcolor"]


def test_a_plane_has_round_ticks_of_colour_and_names_beside_its_marks():
    loss = np.array([[0.3, 1.0, 3.0], [0.3, 0.3, 0.3], [3.0, 1.0, 0.4]])
    drawn = page_figure([plane_of(loss)])
    surface, marks = drawn["data"]
    assert surface["colorbar"]["ticktext"] == ["0.5", "1", "2"]
    assert surface["colorbar"]["tickvals"] == pytest.approx(np.log10([0.5, 1, 2]))
    assert np.array(surface["surfacecolor"]) == pytest.approx(np.log10(loss.T))
    assert surface["customdata"][2][0] == ("loss 3<br>accuracy 3.00 %<br>first's: -1<br>second: 1")
    scene = drawn["layout"]["scene"]
    assert [(name["text"], name["x"]) for name in scene["annotations"]] == [("there", 1)]
    assert scene["xaxis"]["title"]["text"] == "first's"
    assert marks["text"] == ["<b>here</b><br>loss 0.3", "<b>to there</b><br>loss 1"]


def test_a_flat_plane_has_colours_too():
    [surface, _] = page_figure([plane_of(np.ones((3, 3)))])["data"]
    assert "surfacecolor" not in surface
    assert figure([[plane_of(np.ones((3, 3)))]]).axes


def test_the_names_of_lines_stand_beside_the_curves():
    lines = [line_between([3, 2, 1, 2, 3, 2, 1]), line_between([1] * 7, "to elsewhere")]
    drawn = figure([lines])
    drawn.draw_without_rendering()
    axes = drawn.axes[0]
    assert axes.get_legend().get_window_extent().y1 < axes.get_window_extent().y0
    assert min(text.get_fontsize() for text in axes.get_legend().get_texts()) >= 7


def test_the_names_of_two_unit_eigenvectors_fit_the_width_of_one_panel():
    names = [f"eigenvector {k} (λ = 5.067), length 1" for k in (1, 2)]
    lines = [line_between([3, 2, 1, 2, 3, 2, 1], name) for name in names]
    lines = [replace(line, title="a") for line in lines]
    drawn = figure([lines])
    drawn.draw_without_rendering()
    legend = drawn.axes[0].get_legend().get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= drawn.bbox.x1


def test_lines_of_several_runs_share_a_panel_and_planes_have_one_scale_of_loss_a_kind():
    steps = np.arange(9.0).reshape(3, 3)
    low = replace(plane_of(1 + steps), kind="eigen", title="low")
    high = replace(plane_of(32 + steps), kind="eigen", title="high")
    other = replace(plane_of(5 + steps), kind="random")
    lines = [replace(line_between(range(7), name), title=name) for name in ("low", "high")]
    panels = together([[[lines[0]], [low]], [[lines[1]], [high]]])
    assert panels == [lines, [low], [high]]
    assert [name_in_panel(line, lines) for line in lines] == ["low, low", "high, high"]
    panels.append([other])
    scales = loss_scales(panels)
    surfaces = [page_figure(panel, scales=scales)["data"][0] for panel in panels[1:]]
    ends = [(surface["cmin"], surface["cmax"]) for surface in surfaces]
    assert ends[0] == ends[1] == pytest.approx((0, np.log10(40)))  # logarithms of the loss
    assert ends[2] == pytest.approx((5, 13))
    planes = figure(panels).axes[1:4]
    levels = [axes.collections[0].levels.tolist() for axes in planes]
    assert levels[0] == levels[1] != levels[2]
