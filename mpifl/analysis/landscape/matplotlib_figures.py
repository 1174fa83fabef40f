"""Landscapes as a picture, drawn by matplotlib: curves along lines, contours in planes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from mpifl.analysis.figures.matplotlib_figures import styled
from mpifl.analysis.figures.panels import COLOURS
from mpifl.analysis.landscape.panels import (
    LossScale,
    Panel,
    drawn_loss,
    is_logarithmic,
    is_plane,
    loss_scales,
    marked,
    most_accuracy,
    name_in_panel,
    round_ticks,
    short_name,
    spans_much,
    title_of_panel,
    x_label,
)
from mpifl.analysis.landscape.values import Landscape

_LONG_NAME = 28
"""characters of a name in a legend, of which two do not fit beside each other"""

_HALO = withStroke(linewidth=1.2, foreground="white")
"""around names, which also stand on dark colours"""


@styled
def figure(panels: Sequence[Panel], across: int = 2, title: str = "") -> Figure:
    """The panels, `across` in a row; a `title` above stands in place of the panels' own titles."""
    across = min(across, len(panels))
    rows = math.ceil(len(panels) / across)
    made = Figure((3.6 * across, 2.9 * rows), layout="constrained")
    places = made.subplots(rows, across, squeeze=False).ravel()
    scales = loss_scales(panels)
    for axes, panel in zip(places, panels, strict=False):
        if is_plane(panel):
            _draw_plane(axes, panel[0], scales[panel[0].kind])
        else:
            _draw_lines(axes, panel)
        if title:
            axes.set_title("")
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    if title:
        made.suptitle(title, fontsize=9, wrap=True)
    return made


def _draw_lines(axes: Axes, panel: Panel) -> None:
    right = axes.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    for number, line in enumerate(panel):
        [at] = line.coordinates
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(at, line.loss, color=colour, label=name_in_panel(line, panel))
        right.plot(at, 100 * line.accuracy, color=colour, linestyle=":", linewidth=1)
        for [x] in line.marks.values():
            axes.plot(x, np.interp(x, at, line.loss), "o", color=colour, markersize=3.5)
    for x in marked(panel):
        axes.axvline(x, color="#444444", linewidth=0.6, linestyle=":", zorder=0)
    losses = np.concatenate([line.loss for line in panel])
    axes.set_yscale("log" if spans_much(losses) else "linear")
    axes.locator_params(axis="x", nbins=6)
    axes.set(xlabel=x_label(panel), ylabel="loss (solid)", title=title_of_panel(panel))
    right.set(ylabel="accuracy, % (dotted)", ylim=(0, most_accuracy(panel)))
    if len(panel) > 1:
        longest = max(len(name_in_panel(line, panel)) for line in panel)
        columns = 1 if longest > _LONG_NAME else 2
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=7, ncols=columns)


def _draw_plane(axes: Axes, plane: Landscape, scale: LossScale) -> None:
    x, y = plane.coordinates
    loss = drawn_loss(plane.loss, scale.highest).T
    levels = scale.levels
    norm = LogNorm() if is_logarithmic(levels) else None
    filled = axes.contourf(x, y, loss, levels, cmap="viridis", norm=norm)
    axes.contour(x, y, loss, levels, colors="white", linewidths=0.3, alpha=0.6)
    axes.figure.colorbar(filled, ax=axes, label="loss", format="%.3g", ticks=round_ticks(levels))
    in_percent = 100 * plane.accuracy.T
    accuracy = axes.contour(x, y, in_percent, 4, colors="black", linewidths=0.6, linestyles=":")
    axes.clabel(accuracy, fmt="%.3g %%", fontsize=6.5)
    _draw_marks(axes, plane)
    axes.grid(False)
    axes.locator_params(nbins=5)
    axes.set(xlabel=plane.axes[0], ylabel=plane.axes[1], title=plane.title)


def _draw_marks(axes: Axes, plane: Landscape) -> None:
    """A star for the first model, which needs no name; dots with names for the others."""
    middle = float(plane.coordinates[0][[0, -1]].mean())
    for number, (name, (x, y)) in enumerate(plane.marks.items()):
        marker, size = ("*", 8) if number == 0 else ("o", 4)
        axes.plot(x, y, marker, color="white", markeredgecolor="black", markersize=size)
        if number == 0:
            continue
        to_the_left = x > middle  # so that long names stay within
        axes.annotate(
            short_name(name),
            (x, y),
            xytext=(-3, 3) if to_the_left else (3, 3),
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            fontsize=7,
            path_effects=[_HALO],
        )
