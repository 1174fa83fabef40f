"""Landscapes drawn: as a picture of lines and contours, or as a page with planes to turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from mpifl.analysis.figures.matplotlib_figures import COLOURS, styled
from mpifl.analysis.figures.plotly_page import document
from mpifl.analysis.landscape.compute import Landscape
from mpifl.terminal import percent

Panel = Sequence[Landscape]
"""lines that share their axes, or one plane"""

_HALO = withStroke(linewidth=1.2, foreground="white")
"""around names, which also stand on dark colours"""
_LEVELS = 14
_HIGHEST = 25.0
"""losses above this many times (the least + 1) are drawn as that: the valley is of interest"""


# --- a picture ----------------------------------------------------------------------------------


@styled
def figure(panels: Sequence[Panel], across: int = 2, title: str = "") -> Figure:
    """The panels, `across` in a row; a `title` above stands in place of the panels' own titles."""
    across = min(across, len(panels))
    rows = math.ceil(len(panels) / across)
    made = Figure((3.6 * across, 2.9 * rows), layout="constrained")
    places = made.subplots(rows, across, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        if _is_plane(panel):
            _draw_plane(axes, panel[0])
        else:
            _draw_lines(axes, panel)
        if title:
            axes.set_title("")
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    if title:
        made.suptitle(title, fontsize=9, wrap=True)
    return made


def _is_plane(panel: Panel) -> bool:
    return len(panel[0].axes) == 2


def _draw_lines(axes: Axes, panel: Panel) -> None:
    right = axes.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    for number, line in enumerate(panel):
        [at] = line.coordinates
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(at, line.loss, color=colour, label=_name(line, panel))
        right.plot(at, 100 * line.accuracy, color=colour, linestyle=":", linewidth=1)
        for [x] in line.marks.values():
            axes.plot(x, np.interp(x, at, line.loss), "o", color=colour, markersize=3.5)
    losses = np.concatenate([line.loss for line in panel])
    spans_much = np.nanmax(losses) > 20 * np.nanmin(losses) > 0
    axes.set_yscale("log" if spans_much else "linear")
    axes.locator_params(axis="x", nbins=6)
    axes.set(xlabel=_x_label(panel), ylabel="loss (solid)", title=_shared_title(panel))
    best = 100 * max(line.accuracy.max() for line in panel)
    right.set(ylabel="accuracy, % (dotted)", ylim=(0, min(100.0, 1.2 * best + 1)))
    if len(panel) > 1:
        axes.legend(fontsize=5.5, ncols=1 if len(panel) < 3 else 2)


def _draw_plane(axes: Axes, plane: Landscape) -> None:
    x, y = plane.coordinates
    loss = np.clip(np.nan_to_num(plane.loss, nan=np.inf), None, _ceiling(plane.loss)).T
    levels = _levels(loss)
    filled = axes.contourf(x, y, loss, levels, cmap="viridis")
    axes.contour(x, y, loss, levels, colors="white", linewidths=0.3, alpha=0.6)
    axes.figure.colorbar(filled, ax=axes, label="loss", format="%.3g", ticks=_round_ticks(levels))
    percent = 100 * plane.accuracy.T
    accuracy = axes.contour(x, y, percent, 4, colors="black", linewidths=0.6, linestyles=":")
    axes.clabel(accuracy, fmt="%.3g %%", fontsize=5)
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
            name.rpartition("client ")[2].removeprefix("to "),
            (x, y),
            xytext=(-3, 3) if to_the_left else (3, 3),
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            fontsize=5.5,
            path_effects=[_HALO],
        )


def _ceiling(loss: np.ndarray) -> float:
    """The highest loss that is drawn."""
    finite = loss[np.isfinite(loss)]
    return float(min(finite.max(), _HIGHEST * (finite.min() + 1)))


def _levels(loss: np.ndarray) -> np.ndarray:
    """The contours' levels: evenly spaced, in the logarithm where the loss spans a factor of 3."""
    low, high = float(loss.min()), float(loss.max())
    if high - low < 1e-12:
        return np.array([low - 1e-6, low + 1e-6])
    if low > 0 and high > 3 * low:
        return np.geomspace(low, high * (1 + 1e-9), _LEVELS)
    return np.linspace(low, high + 1e-9 * abs(high), _LEVELS)


def _round_ticks(levels: np.ndarray) -> np.ndarray:
    """Round numbers within the levels, for the bar of colours."""
    low = levels[0]
    high = levels[-1]
    if low > 0 and high > 10 * low:
        ticks = LogLocator(subs=(1, 2, 5)).tick_values(low, high)
    else:
        ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
    return ticks[(ticks >= low) & (ticks <= high)]


def _name(line: Landscape, panel: Panel) -> str:
    """What sets a line apart from the others of its panel."""
    return line.title if _shared_axis(panel) == line.axes[0] else line.axes[0]


def _shared_axis(panel: Panel) -> str:
    names = {line.axes[0] for line in panel}
    return names.pop() if len(names) == 1 else "coordinate"


def _x_label(panel: Panel) -> str:
    """The name of the lines' axis, with what stands at 1 where that is a model."""
    ends: list[str] = []
    for line in panel:
        ends.extend(name for name, place in line.marks.items() if place == (1.0,))
    axis = _shared_axis(panel)
    if not ends:
        return axis
    are_clients = all("client " in name for name in ends)
    other = "the client's model" if are_clients else "the other run's model"
    return f"{axis}: 1 = {other}"


def _shared_title(panel: Panel) -> str:
    titles = {line.title for line in panel}
    return titles.pop() if len(titles) == 1 else ""


# --- a page -------------------------------------------------------------------------------------


def page(panels: Sequence[Panel], title: str) -> str:
    """One HTML page that loads nothing from elsewhere: planes to turn, lines to hover over."""
    figures = []
    for panel in panels:
        figures.append(_plotly_plane(panel[0]) if _is_plane(panel) else _plotly_lines(panel))
    return document(figures, title)


def _plotly_plane(plane: Landscape) -> dict[str, Any]:
    x, y = (np.round(values, 6).tolist() for values in plane.coordinates)
    loss = np.minimum(plane.loss, _ceiling(plane.loss)).T
    texts = []
    for row in plane.accuracy.T:
        texts.append([f"accuracy {percent(value)}" for value in row])
    surface = {
        "type": "surface",
        "x": x,
        "y": y,
        "z": loss.tolist(),
        "text": texts,
        "colorscale": "Viridis",
        "contours": {"z": {"show": True, "usecolormap": True, "project": {"z": True}}},
    }
    places = list(plane.marks.values())
    marks = {
        "type": "scatter3d",
        "mode": "markers+text",
        "text": list(plane.marks),
        "marker": {"size": 4, "color": "red"},
        "x": [place[0] for place in places],
        "y": [place[1] for place in places],
        "z": [_loss_near(plane, place) for place in places],
    }
    scene = {
        "xaxis": {"title": {"text": plane.axes[0]}},
        "yaxis": {"title": {"text": plane.axes[1]}},
        "zaxis": {"title": {"text": "loss"}},
        "camera": {"eye": {"x": 1.7, "y": 1.7, "z": 1.1}},
    }
    layout = {
        "title": {"text": plane.title},
        "height": 700,
        "showlegend": False,
        "scene": scene,
    }
    return {"data": [surface, marks], "layout": layout}


def _loss_near(plane: Landscape, place: tuple[float, ...]) -> float:
    """The loss at the nearest point of the grid."""
    nearest = []
    for coordinates, value in zip(plane.coordinates, place, strict=True):
        nearest.append(int(np.abs(coordinates - value).argmin()))
    return float(min(plane.loss[tuple(nearest)], _ceiling(plane.loss)))


def _plotly_lines(panel: Panel) -> dict[str, Any]:
    data: list[dict[str, Any]] = []
    for number, line in enumerate(panel):
        colour = COLOURS[number % len(COLOURS)]
        common = {
            "type": "scatter",
            "x": line.coordinates[0].tolist(),
            "name": _name(line, panel),
            "legendgroup": str(number),
        }
        data.append({**common, "y": line.loss.tolist(), "line": {"color": colour}})
        data.append(
            {
                **common,
                "y": line.accuracy.tolist(),
                "line": {"color": colour, "dash": "dot"},
                "yaxis": "y2",
                "showlegend": False,
            }
        )
    right = {
        "title": {"text": "accuracy (dotted)"},
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "rangemode": "tozero",
        "tickformat": ".0%",
        "tickmode": "auto",
    }
    layout = {
        "title": {"text": _shared_title(panel)},
        "xaxis": {"title": {"text": _x_label(panel)}},
        "yaxis": {"title": {"text": "loss"}},
        "yaxis2": right,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1},
    }
    return {"data": data, "layout": layout}
