"""Landscapes drawn: lines of loss and accuracy, planes as contours, in a picture; or in a page to
turn them around.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from mpifl.analysis.figures.matplotlib_figures import COLOURS, styled
from mpifl.analysis.figures.plotly_page import document
from mpifl.analysis.landscape.compute import Landscape

Panel = Sequence[Landscape]
"""lines that share their axes, or one plane"""

_HALO = withStroke(linewidth=1.2, foreground="white")
"""around names, which stand on dark colours too"""
_LEVELS = 14
_HIGHEST = 25.0
"""losses above this many times the least, plus 1, are drawn as one: the valley is what is looked at
"""


@styled
def figure(panels: Sequence[Panel], across: int = 2) -> Figure:
    """The panels, `across` in a row."""
    across = min(across, len(panels))
    rows = -(-len(panels) // across)
    made = Figure((3.6 * across, 2.9 * rows), layout="constrained")
    places = made.subplots(rows, across, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        _plane(axes, panel[0]) if len(panel[0].axes) == 2 else _lines(axes, panel)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    return made


def _lines(axes: Axes, panel: Panel) -> None:
    right = axes.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    for number, line in enumerate(panel):
        [at], colour = line.coordinates, COLOURS[number % len(COLOURS)]
        axes.plot(at, line.loss, color=colour, label=_name(line, panel))
        right.plot(at, 100 * line.accuracy, color=colour, linestyle=":", linewidth=1)
        for where in line.marks.values():
            axes.plot(*where, np.interp(where[0], at, line.loss), "o", color=colour, markersize=3.5)
    losses = np.concatenate([line.loss for line in panel])
    axes.set_yscale("log" if np.nanmax(losses) > 20 * np.nanmin(losses) > 0 else "linear")
    axes.set(xlabel=_shared_axis(panel), ylabel="loss (solid)", title=_shared_title(panel))
    best = 100 * max(line.accuracy.max() for line in panel)
    right.set(ylabel="accuracy, % (dotted)", ylim=(0, min(100.0, 1.2 * best + 1)))
    if len(panel) > 1:
        axes.legend(fontsize=5.5, ncols=1 if len(panel) < 3 else 2)


def _plane(axes: Axes, plane: Landscape) -> None:
    x, y = plane.coordinates
    loss = np.clip(np.nan_to_num(plane.loss, nan=np.inf), None, _ceiling(plane.loss)).T
    levels = _levels(loss)
    filled = axes.contourf(x, y, loss, levels, cmap="viridis")
    axes.contour(x, y, loss, levels, colors="white", linewidths=0.3, alpha=0.6)
    axes.figure.colorbar(filled, ax=axes, label="loss", format="%.3g")
    accuracy = axes.contour(
        x, y, 100 * plane.accuracy.T, 4, colors="black", linewidths=0.6, linestyles=":"
    )
    axes.clabel(accuracy, fmt="%.3g %%", fontsize=5)
    for number, (name, where) in enumerate(plane.marks.items()):
        look = {"marker": "o" if number else "*", "markersize": 4 if number else 8}
        axes.plot(*where, color="white", markeredgecolor="black", **look)
        if number:
            text = name.rpartition("client ")[2] or name
            inward = -1 if where[0] > (x[0] + x[-1]) / 2 else 1  # so that long names stay within
            place = {"xytext": (3 * inward, 3), "ha": "left" if inward > 0 else "right"}
            axes.annotate(
                text, where, textcoords="offset points", fontsize=5.5, path_effects=[_HALO], **place
            )
    axes.grid(False)
    axes.locator_params(nbins=5)
    axes.set(xlabel=plane.axes[0], ylabel=plane.axes[1], title=plane.title)


def _ceiling(loss: np.ndarray) -> float:
    finite = loss[np.isfinite(loss)]
    return float(min(finite.max(), _HIGHEST * (finite.min() + 1)))


def _levels(loss: np.ndarray) -> np.ndarray:
    """Evenly apart in the logarithm where the loss spans more than a factor of three, else evenly."""
    low, high = float(loss.min()), float(loss.max())
    if high - low < 1e-12:
        return np.array([low - 1e-6, low + 1e-6])
    if low > 0 and high > 3 * low:
        return np.geomspace(low, high * (1 + 1e-9), _LEVELS)
    return np.linspace(low, high + 1e-9 * abs(high), _LEVELS)


def _name(line: Landscape, panel: Panel) -> str:
    """What sets a line apart from the others of its panel."""
    return line.title if _shared_axis(panel) == line.axes[0] else line.axes[0]


def _shared_axis(panel: Panel) -> str:
    names = {line.axes[0] for line in panel}
    return names.pop() if len(names) == 1 else "coordinate"


def _shared_title(panel: Panel) -> str:
    titles = {line.title for line in panel}
    return titles.pop() if len(titles) == 1 else ""


def page(panels: Sequence[Panel], title: str) -> str:
    """One HTML page that needs nothing else: planes to turn around, lines to hover over."""
    return document(
        [_turning(p[0]) if len(p[0].axes) == 2 else _hovering(p) for p in panels], title
    )


def _turning(plane: Landscape) -> dict[str, Any]:
    x, y = (np.round(values, 6).tolist() for values in plane.coordinates)
    loss = np.minimum(plane.loss, _ceiling(plane.loss)).T
    text = [[f"accuracy {value:.2%}" for value in row] for row in plane.accuracy.T]
    surface = {
        "type": "surface",
        "x": x,
        "y": y,
        "z": loss.tolist(),
        "text": text,
        "colorscale": "Viridis",
    }
    surface["contours"] = {"z": {"show": True, "usecolormap": True, "project": {"z": True}}}
    marks = {"type": "scatter3d", "mode": "markers+text", "text": list(plane.marks)}
    marks |= {"marker": {"size": 4, "color": "red"}}
    marks |= dict(zip("xy", map(list, zip(*plane.marks.values(), strict=True)), strict=True))
    marks["z"] = [_near(plane, where) for where in plane.marks.values()]
    axes = {
        axis: {"title": {"text": text}}
        for axis, text in zip(("xaxis", "yaxis"), plane.axes, strict=True)
    }
    layout = {"title": {"text": plane.title}, "height": 700, "showlegend": False}
    scene = {
        **axes,
        "zaxis": {"title": {"text": "loss"}},
        "camera": {"eye": {"x": 1.7, "y": 1.7, "z": 1.1}},
    }
    return {"data": [surface, marks], "layout": {**layout, "scene": scene}}


def _near(plane: Landscape, where: tuple[float, ...]) -> float:
    """The loss at the grid's point that is nearest."""
    nearest = tuple(
        np.abs(at - value).argmin() for at, value in zip(plane.coordinates, where, strict=True)
    )
    return float(min(plane.loss[nearest], _ceiling(plane.loss)))


def _hovering(panel: Panel) -> dict[str, Any]:
    data = []
    for number, line in enumerate(panel):
        at, look = line.coordinates[0].tolist(), {"color": COLOURS[number % len(COLOURS)]}
        common = {
            "type": "scatter",
            "x": at,
            "name": _name(line, panel),
            "legendgroup": str(number),
        }
        data.append({**common, "y": line.loss.tolist(), "line": look})
        dotted = {**look, "dash": "dot"}
        data.append(
            {
                **common,
                "y": line.accuracy.tolist(),
                "line": dotted,
                "yaxis": "y2",
                "showlegend": False,
            }
        )
    right = {
        "title": {"text": "accuracy (dotted)"},
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
    }
    right |= {"rangemode": "tozero", "tickformat": ".0%", "tickmode": "auto"}
    layout = {
        "title": {"text": _shared_title(panel)},
        "xaxis": {"title": {"text": _shared_axis(panel)}},
    }
    layout["legend"] = {"orientation": "h", "yanchor": "bottom", "y": 1}
    return {
        "data": data,
        "layout": {**layout, "yaxis": {"title": {"text": "loss"}}, "yaxis2": right},
    }
