"""Figures as the report has them: one colour for a group in all of them, and few points.

A long line is thinned: it is cut into equal stretches, and of each its lowest and its highest point
are kept, so that no peak is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import Band, Panel, Trace
from mpifl.analysis.figures.plotly_figures import map_figure, panel_figure
from mpifl.analysis.figures.plotly_theme import Figure

MOST_POINTS = 200
"""of a line; a longer one is thinned"""
MOST_CELLS = 20_000
"""of a map of clients by classes"""
MOST_COLUMNS = 60
"""of a map by round"""

_DIGITS = 5
_PARALLEL = ("x", "y", "text", "customdata")
"""arrays of a trace that have an item for each point"""
_FAINT = 0.35
"""the opacity of the line of one of several runs"""


def of_groups(panel: Panel, labels: Sequence[str], band: Band = "std") -> Figure:
    """The figure of a panel that some groups may lack: a group's colour is that of its number
    among all `labels`.
    """
    found = {trace.label: trace for trace in panel.traces}
    marks = dict(zip(found, panel.marks, strict=False))
    nothing = np.full(1, np.nan)
    traces = []
    for label in labels:
        traces.append(found.get(label, Trace(label, nothing, nothing[None])))
    whole = replace(panel, traces=traces, marks=[marks.get(label) for label in labels])
    made = slim(panel_figure(whole, band))
    if not panel.line:
        _enlarge(made)
    return made


def of_its_own(panel: Panel, band: Band = "std") -> Figure:
    """The figure of a panel whose traces are no groups of runs: it has a legend of its own."""
    made = slim(panel_figure(panel, band))
    for trace in made["data"]:
        trace["showlegend"] = "name" in trace
        trace.pop("legendgroup", None)
    _enlarge(made)
    made["layout"]["showlegend"] = True
    made["layout"]["legend"] = {"orientation": "h", "x": 0, "y": -0.25, "yanchor": "top"}
    return made


def of_map(heat: HeatMap) -> Figure:
    """The figure of a map; a long one has some of its columns only."""
    if len(heat.x) > MOST_COLUMNS and heat.x_title == "round":
        chosen = np.unique(np.rint(np.linspace(0, len(heat.x) - 1, MOST_COLUMNS)).astype(int))
        heat = replace(heat, x=heat.x[chosen], values=heat.values[:, chosen])
    return slim(map_figure(replace(heat, texts=())))


def slim(figure: Figure) -> Figure:
    """The figure with long lines thinned, without lines that have no point, in short numbers."""
    data = []
    for trace in figure["data"]:
        if _has_points(trace):
            data.append(_shortened(_thinned(trace)))
    return {"data": data, "layout": figure["layout"]}


def kept(values: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """The places, rising, of about `most` of these (n): the ends, and the extremes between.

    >>> kept(np.array([0.0, 9.0, 1.0, 1.0, -5.0, 1.0, 2.0, 3.0]), 4).tolist()
    [0, 1, 4, 7]
    """
    if len(values) <= most:
        return np.arange(len(values))
    places = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), max(1, most // 2)):
        known = stretch[np.isfinite(values[stretch])]
        if len(known) < len(stretch):  # a gap is kept too
            places.add(int(stretch[~np.isfinite(values[stretch])][0]))
        if len(known):
            places.add(int(known[values[known].argmin()]))
            places.add(int(known[values[known].argmax()]))
    return np.array(sorted(places))


def _enlarge(figure: Figure) -> None:
    """Make the dots of a figure without lines large enough to tell their colours."""
    for trace in figure["data"]:
        if trace.get("mode") == "markers":
            trace["marker"] = {"size": 7, "opacity": 0.85}


def _has_points(trace: Mapping[str, Any]) -> bool:
    if trace["type"] != "scatter":
        return True
    return any(value is not None for value in trace["y"])


def _thinned(trace: dict[str, Any]) -> dict[str, Any]:
    if trace["type"] != "scatter" or len(trace["y"]) <= MOST_POINTS:
        return trace
    y = np.array(trace["y"], dtype="f8")
    if trace.get("fill") == "toself":  # a band: its upper edge, then the lower one backwards
        half = len(y) // 2
        if half <= MOST_POINTS:
            return trace
        upper = set(kept(y[:half]).tolist())
        lower = set(kept(y[half:][::-1]).tolist())
        chosen = np.array(sorted(upper | lower))
        places = np.concatenate([chosen, len(y) - 1 - chosen[::-1]])
    else:
        places = kept(y)
    thin = dict(trace)
    for name in _PARALLEL:
        if isinstance(thin.get(name), list) and len(thin[name]) == len(y):
            thin[name] = [thin[name][place] for place in places.tolist()]
    return thin


def _shortened(trace: dict[str, Any]) -> dict[str, Any]:
    """The trace in few digits; the line of one of several runs reads its values from the axis."""
    short = dict(trace)
    if trace["type"] == "scatter":
        for name in ("x", "y"):
            short[name] = [_rounded(value) for value in short[name]]
    elif trace["type"] == "heatmap":
        short["z"] = [[_rounded(value) for value in row] for row in short["z"]]
    if short.get("opacity") == _FAINT and "(" not in "".join(short.get("text", ())[:1]):
        short.pop("text", None)
        short["hovertemplate"] = short["hovertemplate"].replace("%{text}", "%{y:.4~g}")
    return short


def _rounded(value: Any) -> Any:
    """A number in few digits, whole where it can be."""
    if not isinstance(value, float):
        return value
    if value.is_integer() and abs(value) < 1e9:
        return int(value)
    return float(f"{value:.{_DIGITS}g}")
