"""Landscapes drawn: as a picture of lines and contours, or as a page with planes to turn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from mpifl.analysis.figures.matplotlib_figures import styled
from mpifl.analysis.figures.panels import COLOURS
from mpifl.analysis.figures.plotly_figures import (
    AXIS,
    TEXT,
    THEME,
    axis,
    escaped,
    log_ticks,
    numbers,
    title_of,
    written,
)
from mpifl.analysis.figures.plotly_figures import Figure as PageFigure
from mpifl.analysis.figures.plotly_page import document, grid
from mpifl.analysis.landscape.compute import Landscape
from mpifl.terminal import percent

Panel = Sequence[Landscape]
"""lines that share their axes, or one plane"""

_HALO = withStroke(linewidth=1.2, foreground="white")
"""around names, which also stand on dark colours"""
_LEVELS = 14
_CAMERA = {"eye": {"x": 1.55, "y": 1.55, "z": 1.15}, "center": {"x": 0, "y": 0, "z": -0.27}}
"""so that the whole box and its axes' names are seen on a narrow screen too"""
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
    for x in _marked(panel):
        axes.axvline(x, color="#444444", linewidth=0.6, linestyle=":", zorder=0)
    losses = np.concatenate([line.loss for line in panel])
    axes.set_yscale("log" if _spans_much(losses) else "linear")
    axes.locator_params(axis="x", nbins=6)
    axes.set(xlabel=_x_label(panel), ylabel="loss (solid)", title=_shared_title(panel))
    right.set(ylabel="accuracy, % (dotted)", ylim=(0, _most_accuracy(panel)))
    if len(panel) > 1:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=7, ncols=2)


def _spans_much(losses: np.ndarray) -> bool:
    """Whether losses are better drawn on a logarithmic axis."""
    return bool(np.nanmax(losses) > 20 * np.nanmin(losses) > 0)


def _most_accuracy(panel: Panel) -> float:
    """Where the axis of accuracies ends, in percent."""
    best = 100 * max(float(np.nanmax(line.accuracy)) for line in panel)
    return min(100.0, 1.2 * best + 1)


def _draw_plane(axes: Axes, plane: Landscape) -> None:
    x, y = plane.coordinates
    loss = np.clip(np.nan_to_num(plane.loss, nan=np.inf), None, _ceiling(plane.loss)).T
    levels = _levels(loss)
    norm = LogNorm() if _is_logarithmic(levels) else None
    filled = axes.contourf(x, y, loss, levels, cmap="viridis", norm=norm)
    axes.contour(x, y, loss, levels, colors="white", linewidths=0.3, alpha=0.6)
    axes.figure.colorbar(filled, ax=axes, label="loss", format="%.3g", ticks=_round_ticks(levels))
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
            _short(name),
            (x, y),
            xytext=(-3, 3) if to_the_left else (3, 3),
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            fontsize=7,
            path_effects=[_HALO],
        )


def _short(name: str) -> str:
    """A model's name beside its mark: a client's number, or a run's name."""
    return name.rpartition("client ")[2].removeprefix("to ")


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


def _is_logarithmic(levels: np.ndarray) -> bool:
    """Whether the levels are evenly spaced in the logarithm."""
    return len(levels) == _LEVELS and not np.allclose(np.diff(levels, 2), 0)


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
    """One HTML page that loads nothing from elsewhere: planes to turn, lines to hover over.

    The `title` above stands in place of the panels' own titles.
    """
    figures = [page_figure(panel, titled=not title) for panel in panels]
    return document(title, grid(figures, wide=True))


def page_figure(panel: Panel, titled: bool = True) -> PageFigure:
    """A panel as plotly draws it: a plane as a surface, lines as lines."""
    made = _plotly_plane(panel[0]) if _is_plane(panel) else _plotly_lines(panel)
    if titled:
        made["layout"]["title"] = title_of(_shared_title(panel))
    return made


def _plotly_plane(plane: Landscape) -> PageFigure:
    x, y = (np.round(values, 6).tolist() for values in plane.coordinates)
    loss = np.minimum(plane.loss, _ceiling(plane.loss)).T
    texts = []
    for row, of_row in enumerate(plane.loss.T):
        texts.append([_hover_of_plane(plane, column, row) for column in range(len(of_row))])
    surface = {
        "type": "surface",
        "x": x,
        "y": y,
        "z": loss.tolist(),
        "customdata": texts,  # `text` may be a list only, not a list of lists
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorscale": "Viridis",
        "contours": {"z": {"show": True, "color": "#777777", "project": {"z": True}}},
        **_colours(loss),
    }
    places = list(plane.marks.values())
    lifted = 0.05 * float(np.ptp(loss))  # else the surface hides half of a mark
    heights = [_loss_near(plane, place) + lifted for place in places]
    losses = [written(_loss_near(plane, place)) for place in places]
    marks = {
        "type": "scatter3d",
        "mode": "markers",
        "text": [
            f"<b>{escaped(name)}</b><br>loss {of}"
            for name, of in zip(plane.marks, losses, strict=True)
        ],
        "hoverinfo": "text",
        "marker": {
            "size": 5,
            "symbol": ["diamond", *["circle"] * (len(places) - 1)],
            "color": "white",
            "line": {"color": "black", "width": 2},
        },
        "x": [place[0] for place in places],
        "y": [place[1] for place in places],
        "z": heights,
    }
    scene = {
        "xaxis": _scene_axis(plane.axes[0]),
        "yaxis": _scene_axis(plane.axes[1]),
        "zaxis": _scene_axis(""),
        "annotations": list(_names_in_scene(plane, heights)),
        "camera": {
            "eye": {"x": 1.55, "y": 1.55, "z": 1.15},
            "center": {"x": 0, "y": 0, "z": -0.27},
        },
        "domain": {"y": [0.17, 1]},
    }
    layout = {
        **THEME,
        "margin": {"l": 0, "r": 0, "t": 30, "b": 0},
        "scene": scene,
    }
    return {"data": [surface, marks], "layout": layout}


def _hover_of_plane(plane: Landscape, column: int, row: int) -> str:
    x, y = plane.coordinates
    lines = [
        f"loss {written(plane.loss[column, row])}",
        f"accuracy {percent(plane.accuracy[column, row])}",
        f"{escaped(plane.axes[0])}: {written(x[column])}",
        f"{escaped(plane.axes[1])}: {written(y[row])}",
    ]
    return "<br>".join(lines)


def _colours(loss: np.ndarray) -> dict[str, Any]:
    """Colours of a surface by its loss, or by its logarithm, as in the picture; a bar below it."""
    levels = _levels(loss)
    ticks = _round_ticks(levels)
    bar = {
        "title": {"text": "loss", "side": "top"},
        "orientation": "h",
        "thickness": 10,
        "len": 0.8,
        "y": 0,
        "yanchor": "bottom",
        "outlinewidth": 0,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
    if not _is_logarithmic(levels):
        return {"colorbar": {**bar, "tickvals": ticks.tolist()}}
    colours = np.log10(loss)
    return {
        "surfacecolor": colours.tolist(),
        "colorbar": {**bar, "tickvals": np.log10(ticks).tolist()},
    }


def _scene_axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": escaped(title), "font": {"size": 12}},
        "tickfont": {"size": 11},
        "nticks": 5,
        "backgroundcolor": "white",
        "gridcolor": AXIS["gridcolor"],
        "linecolor": AXIS["linecolor"],
        "zeroline": False,
    }


def _names_in_scene(plane: Landscape, heights: Sequence[float]) -> Iterator[dict[str, Any]]:
    """The names of all models but the first above the surface, each at the end of a short line."""
    for number, (name, (x, y)) in enumerate(plane.marks.items()):
        if number == 0:
            continue
        yield {
            "x": x,
            "y": y,
            "z": heights[number],
            "text": escaped(_short(name)),
            "font": {"size": 12, "color": TEXT},
            "bgcolor": "rgba(255,255,255,0.8)",
            "arrowcolor": TEXT,
            "arrowwidth": 1,
            "arrowhead": 0,
            "ax": 0,
            "ay": -25 - 16 * (number % 3),  # so that names of neighbours do not meet
        }


def _loss_near(plane: Landscape, place: tuple[float, ...]) -> float:
    """The loss at the nearest point of the grid."""
    nearest = []
    for coordinates, value in zip(plane.coordinates, place, strict=True):
        nearest.append(int(np.abs(coordinates - value).argmin()))
    return float(min(plane.loss[tuple(nearest)], _ceiling(plane.loss)))


def _plotly_lines(panel: Panel) -> PageFigure:
    data: list[dict[str, Any]] = []
    for number, line in enumerate(panel):
        data.extend(_drawn_line(line, _name(line, panel), number))
    losses = np.concatenate([line.loss for line in panel])
    how = {"type": "log", **log_ticks(losses)} if _spans_much(losses) else {}
    right = {
        **axis("accuracy, % (dotted)"),
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "tickmode": "auto",
        "range": [0, _most_accuracy(panel)],
    }
    layout = {
        **THEME,
        "margin": {**THEME["margin"], "r": 50},
        "xaxis": axis(_x_label(panel)),
        "yaxis": axis("loss (solid)", **how),
        "yaxis2": right,
        "shapes": [_upright(x) for x in _marked(panel)],
        "showlegend": len(panel) > 1,
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    }
    return {"data": data, "layout": layout}


def _drawn_line(line: Landscape, name: str, number: int) -> Iterator[dict[str, Any]]:
    """Loss, accuracy and the models of a line, which share its colour."""
    [at] = line.coordinates
    colour = COLOURS[number % len(COLOURS)]
    texts = []
    for x, loss, accuracy in zip(at, line.loss, line.accuracy, strict=True):
        texts.append(
            f"<b>{escaped(name)}</b><br>loss {written(loss)}<br>"
            f"accuracy {percent(accuracy)}<br>coordinate {written(x)}"
        )
    common = {
        "type": "scatter",
        "x": at.tolist(),
        "name": escaped(name),
        "legendgroup": str(number),
        "mode": "lines",
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
    }
    yield {**common, "y": numbers(line.loss), "line": {"color": colour, "width": 2}}
    dotted = {"color": colour, "dash": "dot", "width": 1.5}
    yield {
        **common,
        "y": numbers(100 * line.accuracy),
        "line": dotted,
        "yaxis": "y2",
        "showlegend": False,
    }
    places = [x for [x] in line.marks.values()]
    yield {
        **common,
        "x": places,
        "y": numbers(np.interp(places, at, line.loss)),
        "mode": "markers",
        "marker": {"size": 9, "color": colour, "line": {"color": "white", "width": 1.5}},
        "text": [f"<b>{escaped(mark)}</b>" for mark in line.marks],
        "hovertemplate": "%{text}<br>loss %{y:.4g}<extra></extra>",
        "showlegend": False,
    }


def _marked(panel: Panel) -> list[float]:
    """The coordinates at which models lie."""
    found: set[float] = set()
    for line in panel:
        found.update(x for [x] in line.marks.values())
    return sorted(found)


def _upright(x: float) -> dict[str, Any]:
    """A thin line from the bottom to the top of a plot."""
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "layer": "below",
        "line": {"color": AXIS["linecolor"], "width": 1, "dash": "dot"},
    }
