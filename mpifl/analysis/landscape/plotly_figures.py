"""Landscapes as a page, drawn by plotly: planes to turn, lines to hover over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mpifl.analysis.figures.panels import COLOURS
from mpifl.analysis.figures.plotly_page import document, grid
from mpifl.analysis.figures.plotly_theme import (
    AXIS,
    TEXT,
    THEME,
    Figure,
    axis,
    escaped,
    log_ticks,
    numbers,
    title_of,
    written,
)
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
from mpifl.terminal import percent

_CAMERA = {"eye": {"x": 1.55, "y": 1.55, "z": 1.15}, "center": {"x": 0, "y": 0, "z": -0.27}}
"""so that the whole box and its axes' names are seen on a narrow screen too"""


def page(panels: Sequence[Panel], title: str, titled: bool = False) -> str:
    """One HTML page that loads nothing from elsewhere: planes to turn, lines to hover over.

    The `title` above stands in place of the panels' own titles, unless these are `titled`.
    """
    scales = loss_scales(panels)
    figures = [page_figure(panel, titled or not title, scales) for panel in panels]
    return document(title, grid(figures, wide=True))


def page_figure(
    panel: Panel, titled: bool = True, scales: Mapping[str, LossScale] | None = None
) -> Figure:
    """A panel as plotly draws it: a plane as a surface, lines as lines.

    `scales`: of each kind of plane; by default the panel's own.
    """
    if is_plane(panel):
        scales = scales or loss_scales([panel])
        made = _plane_figure(panel[0], scales[panel[0].kind])
    else:
        made = _lines_figure(panel)
    if titled:
        made["layout"]["title"] = title_of(title_of_panel(panel))
    return made


def _plane_figure(plane: Landscape, scale: LossScale) -> Figure:
    loss = drawn_loss(plane.loss, scale.highest).T
    lowest = float(scale.levels[0])
    lifted = 0.05 * (scale.highest - lowest)  # else the surface hides half of a mark
    heights = []
    for place in plane.marks.values():
        heights.append(_loss_near(plane, place, scale.highest) + lifted)
    scene = {
        "xaxis": _scene_axis(plane.axes[0]),
        "yaxis": _scene_axis(plane.axes[1]),
        "zaxis": {**_scene_axis(""), "range": [lowest, scale.highest + 2 * lifted]},
        "annotations": list(_names_in_scene(plane, heights)),
        "camera": _CAMERA,
        "domain": {"y": [0.17, 1]},
    }
    layout = {**THEME, "margin": {"l": 0, "r": 0, "t": 30, "b": 0}, "scene": scene}
    data = [_surface(plane, loss, scale.levels), _models_in_scene(plane, heights)]
    return {"data": data, "layout": layout}


def _surface(plane: Landscape, loss: np.ndarray, levels: np.ndarray) -> dict[str, Any]:
    """The plane's `loss` [m, n] as a surface, as high as it is to be drawn."""
    x, y = (np.round(values, 6).tolist() for values in plane.coordinates)
    texts = []
    for row in range(len(y)):
        texts.append([_hover_of_plane(plane, column, row) for column in range(len(x))])
    return {
        "type": "surface",
        "x": x,
        "y": y,
        "z": loss.tolist(),
        "customdata": texts,  # `text` may be a list only, not a list of lists
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorscale": "Viridis",
        "contours": {"z": {"show": True, "color": "#777777", "project": {"z": True}}},
        **_colours(loss, levels),
    }


def _models_in_scene(plane: Landscape, heights: Sequence[float]) -> dict[str, Any]:
    """A mark for each model: a diamond for the first, circles for the others."""
    places = list(plane.marks.values())
    texts = []
    for name, place in plane.marks.items():
        loss = _loss_near(plane, place, np.inf)
        texts.append(f"<b>{escaped(name)}</b><br>loss {written(loss)}")
    return {
        "type": "scatter3d",
        "mode": "markers",
        "text": texts,
        "hoverinfo": "text",
        "marker": {
            "size": 5,
            "symbol": ["diamond", *["circle"] * (len(places) - 1)],
            "color": "white",
            "line": {"color": "black", "width": 2},
        },
        "x": [place[0] for place in places],
        "y": [place[1] for place in places],
        "z": list(heights),
    }


def _hover_of_plane(plane: Landscape, column: int, row: int) -> str:
    x, y = plane.coordinates
    lines = [
        f"loss {written(plane.loss[column, row])}",
        f"accuracy {percent(plane.accuracy[column, row])}",
        f"{escaped(plane.axes[0])}: {written(x[column])}",
        f"{escaped(plane.axes[1])}: {written(y[row])}",
    ]
    return "<br>".join(lines)


def _colours(loss: np.ndarray, levels: np.ndarray) -> dict[str, Any]:
    """Colours of a surface by its loss, or by its logarithm, as in the picture; a bar below it."""
    ends = levels[[0, -1]]
    ticks = round_ticks(levels)
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
    if not is_logarithmic(levels):
        low, high = ends.tolist()
        return {"cmin": low, "cmax": high, "colorbar": {**bar, "tickvals": ticks.tolist()}}
    low, high = np.log10(ends).tolist()
    return {
        "surfacecolor": np.log10(loss).tolist(),
        "cmin": low,
        "cmax": high,
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
            "text": escaped(short_name(name)),
            "font": {"size": 12, "color": TEXT},
            "bgcolor": "rgba(255,255,255,0.8)",
            "arrowcolor": TEXT,
            "arrowwidth": 1,
            "arrowhead": 0,
            "ax": 0,
            "ay": -25 - 16 * (number % 3),  # so that names of neighbours do not meet
        }


def _loss_near(plane: Landscape, place: tuple[float, ...], highest: float) -> float:
    """The loss at the nearest point of the grid, or `highest`."""
    nearest = []
    for coordinates, value in zip(plane.coordinates, place, strict=True):
        nearest.append(int(np.abs(coordinates - value).argmin()))
    return float(min(plane.loss[tuple(nearest)], highest))


def _lines_figure(panel: Panel) -> Figure:
    data: list[dict[str, Any]] = []
    for number, line in enumerate(panel):
        data.extend(_line_traces(line, name_in_panel(line, panel), number))
    losses = np.concatenate([line.loss for line in panel])
    how = {"type": "log", **log_ticks(losses)} if spans_much(losses) else {}
    right = {
        **axis("accuracy, % (dotted)"),
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "tickmode": "auto",
        "range": [0, most_accuracy(panel)],
    }
    layout = {
        **THEME,
        "margin": {**THEME["margin"], "r": 50},
        "xaxis": axis(x_label(panel)),
        "yaxis": axis("loss (solid)", **how),
        "yaxis2": right,
        "shapes": [_upright(x) for x in marked(panel)],
        "showlegend": len(panel) > 1,
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    }
    return {"data": data, "layout": layout}


def _line_traces(line: Landscape, name: str, number: int) -> Iterator[dict[str, Any]]:
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
