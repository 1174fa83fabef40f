"""Figures for pages: panels as plotly draws them. A figure is a dict of its data and its layout.

`plotly_theme.py` has the look of all, `plotly_hover.py` what is read at a point; `plotly_page.py`
writes the page around them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import Band, Panel, Trace, band_in_words
from mpifl.analysis.figures.plotly_hover import hover, literal, texts_of_mean, texts_of_run
from mpifl.analysis.figures.plotly_theme import (
    LINE,
    THEME,
    Figure,
    axis,
    escaped,
    log_ticks,
    look,
    numbers,
    title_of,
    with_unit,
)

_MOST_MARKERS = 60


def panel_figure(panel: Panel, band: Band = "std") -> Figure:
    """A panel: for each trace its mean, its band, a faint line for each run, and its mark.

    Traces of one group have the `legendgroup` of its number.
    """
    data: list[dict[str, Any]] = []
    if panel.diagonal:
        data.append(_diagonal(panel))
    for number, trace in enumerate(panel.traces):
        line = look(number)
        group = {"type": "scatter", "legendgroup": str(number), "name": escaped(trace.label)}
        for drawn in _drawn(panel, trace, band, line):
            data.append({**group, **drawn})
        mark = panel.marks[number] if number < len(panel.marks) else None
        if mark is not None:
            data.append({**group, **_mark(panel, trace, mark, line)})
    layout = {
        **THEME,
        "title": title_of(panel.title),
        "xaxis": _x_axis(panel),
        "yaxis": _y_axis(panel),
        **_shapes(panel),
    }
    return {"data": data, "layout": layout}


def map_figure(heat: HeatMap) -> Figure:
    """A map with its scale of colours; rows from the top down, as they are read."""
    drawn: dict[str, Any] = {
        "type": "heatmap",
        "x": heat.x.tolist(),
        "y": heat.y.tolist(),
        "z": [numbers(row) for row in heat.values],
        "colorscale": "Viridis",
        "zmin": heat.limits[0],
        "zmax": heat.limits[1],
        "colorbar": {
            "title": {"text": escaped(heat.value_title), "side": "right"},
            "thickness": 10,
            "nticks": 6,
        },
    }
    if heat.texts:
        drawn["customdata"] = [list(row) for row in heat.texts]
        drawn["hovertemplate"] = "%{customdata}<extra></extra>"
    else:
        place = f"{escaped(heat.y_title)} %{{y}}, {escaped(heat.x_title)} %{{x}}"
        value = f"{escaped(heat.value_title)} %{{z:.4~r}}"
        drawn["hovertemplate"] = f"{place}<br>{value}<extra></extra>"
    layout = {
        **THEME,
        "title": title_of(heat.title),
        "xaxis": axis(heat.x_title, **_whole(heat.x), showgrid=False),
        "yaxis": axis(heat.y_title, **_whole(heat.y), showgrid=False, autorange="reversed"),
    }
    return {"data": [drawn], "layout": layout}


def _whole(places: np.ndarray) -> dict[str, Any]:
    """Ticks of an axis at whole numbers: at each place, where these are few."""
    return {"tickvals": places.tolist()} if len(places) <= 12 else {"tickformat": "d"}


def _diagonal(panel: Panel) -> dict[str, Any]:
    """The line y = x between the limits of the panel, or between the ends of what it shows."""
    ends = list(panel.limits)
    if not np.isfinite(ends).all():
        shown = [np.concatenate([trace.x, trace.values.ravel()]) for trace in panel.traces]
        values = np.concatenate(shown)
        values = values[np.isfinite(values)]
        ends = [float(values.min()), float(values.max())] if len(values) else []
    return {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": ends,
        "line": {"color": LINE, "dash": "dot", "width": 1},
        "hoverinfo": "skip",
    }


def _shapes(panel: Panel) -> dict[str, Any]:
    """The marked part of x, with its name."""
    if not panel.shaded:
        return {}
    first, last = panel.shaded
    rectangle = {
        "type": "rect",
        "yref": "paper",
        "x0": first,
        "x1": last,
        "y0": 0,
        "y1": 1,
        "fillcolor": "#999999",
        "opacity": 0.25,
        "line": {"width": 0},
        "layer": "below",
    }
    name = {
        "text": escaped(panel.shaded_as),
        "x": last,
        "y": 1,
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "top",
        "showarrow": False,
    }
    return {"shapes": [rectangle], "annotations": [name]}


def _drawn(
    panel: Panel, trace: Trace, band: Band, line: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The band as a polygon, a thin line for each of several runs, and the mean above them."""
    ends = panel.band(trace, band)
    if ends is not None and panel.line:
        low, high = ends
        known = np.isfinite(trace.x + low + high)
        x = trace.x[known]
        yield {
            "mode": "lines",
            "x": numbers(np.concatenate([x, x[::-1]])),
            "y": numbers(np.concatenate([high[known], low[known][::-1]])),
            "fill": "toself",
            "line": {"width": 0, "color": line["color"]},
            "opacity": 0.25,
            "hoverinfo": "skip",
        }
    runs = len(trace.values)
    if runs > 1:
        for run, values in enumerate(trace.values):
            yield {
                **hover(panel, trace, texts_of_run(trace, run), escaped(trace.name_of(run))),
                "mode": "lines" if panel.line else "markers",
                "marker": {"size": 3},
                "x": numbers(trace.x),
                "y": numbers(values),
                "line": {"color": line["color"], "width": 1},
                "opacity": 0.35,
            }
        texts = texts_of_mean(trace, band)
        of = f"{band_in_words(band).rstrip(',')} of {runs} runs"
    else:
        texts = texts_of_run(trace, 0)
        of = escaped(trace.name_of(0))
    yield {
        **hover(panel, trace, texts, of),
        "mode": _mode(panel, len(trace.x)),
        "marker": {"size": 4},
        "x": numbers(trace.x),
        "y": numbers(trace.mean),
        "line": {**line, "width": 2},
    }


def _mode(panel: Panel, points: int) -> str:
    if not panel.line:
        return "markers"
    return "lines+markers" if points <= _MOST_MARKERS else "lines"


def _mark(panel: Panel, trace: Trace, mark: float, line: dict[str, Any]) -> dict[str, Any]:
    """A dotted line at a trace's published value."""
    known = trace.x[np.isfinite(trace.x)]
    value = with_unit(mark, panel.y_unit)
    text = f"<b>{escaped(trace.label)}</b><br>published {escaped(panel.y_name)} {value}"
    return {
        "hovertemplate": f"{literal(text)}<extra></extra>",
        "mode": "lines",
        "x": [float(known.min()), float(known.max())],
        "y": [mark, mark],
        "line": {"color": line["color"], "dash": "dot", "width": 1},
    }


def _x_axis(panel: Panel) -> dict[str, Any]:
    if panel.names:
        places = list(range(1, len(panel.names) + 1))
        names = [escaped(name) for name in panel.names]
        return axis("", tickvals=places, ticktext=names, tickangle=-50)
    return axis(panel.x_title)


def _y_axis(panel: Panel) -> dict[str, Any]:
    if not panel.log:
        return axis(panel.y_title, rangemode="tozero" if panel.from_zero else "normal")
    drawn = np.concatenate([trace.values.ravel() for trace in panel.traces])
    return axis(panel.y_title, type="log", **log_ticks(drawn))
