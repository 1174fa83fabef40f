"""One HTML page of panels, drawn by plotly.

Hover to read numbers, drag to zoom, click a name to hide its traces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.io as pio
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from mpifl.analysis.figures.matplotlib_figures import COLOURS
from mpifl.analysis.figures.panels import Band, Panel, Trace, in_words

_ACROSS = 3
_DASHES = ("solid", "dash", "dot", "dashdot")
_STYLE = "<style>body{font:14px system-ui,sans-serif;margin:1.5em auto;max-width:1150px}</style>"


def document(figures: Sequence[Figure | dict[str, Any]], title: str) -> str:
    """A page with plotly's `figures` one below the other.

    It loads nothing from elsewhere: it can be sent, kept, and opened offline.
    """
    parts = []
    for number, figure in enumerate(figures):
        # The first carries plotly's own code.
        parts.append(pio.to_html(figure, full_html=False, include_plotlyjs=number == 0))
    name = escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>{_STYLE}'
    return f"{head}<h1>{name}</h1>{''.join(parts)}</html>"


def page(panels: Sequence[Panel], title: str, band: Band = "std") -> str:
    """The page of the panels: means, bands over runs, and each run as a faint line."""
    across = min(_ACROSS, len(panels))
    rows = math.ceil(len(panels) / across)
    made = make_subplots(
        rows,
        across,
        subplot_titles=[panel.title for panel in panels],
        vertical_spacing=0.3 / rows,
        horizontal_spacing=0.08,
    )
    for number, panel in enumerate(panels):
        place = {"row": 1 + number // across, "col": 1 + number % across}
        _draw(made, panel, band, place, in_legend=number == 0)
    made.update_layout(
        height=110 + 310 * rows,
        template="simple_white",
        legend={
            "title": {"text": in_words(panels, band)},
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1 + 0.12 / rows,
        },
        margin={"l": 60, "r": 20},
    )
    return document([made], title)


def _draw(made: Figure, panel: Panel, band: Band, place: dict[str, int], in_legend: bool) -> None:
    for number, trace in enumerate(panel.traces):
        colour = COLOURS[number % len(COLOURS)]
        dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
        group = {"legendgroup": trace.label, "name": trace.label}
        for faint in _band_and_runs(panel, trace, band, colour):
            made.add_trace({**group, "mode": "lines", "showlegend": False, **faint}, **place)
        mean = {
            "mode": "lines+markers",
            "showlegend": in_legend,
            "marker": {"size": 3},
            "x": trace.x,
            "y": trace.mean,
            "line": {"color": colour, "dash": dash},
        }
        made.add_trace({**group, **mean}, **place)
        mark = panel.marks[number] if number < len(panel.marks) else None
        if mark is not None:
            made.add_hline(mark, line={"color": colour, "dash": "dot", "width": 1}, **place)
    _draw_axes(made, panel, place)


def _draw_axes(made: Figure, panel: Panel, place: dict[str, int]) -> None:
    x_axis: dict[str, Any] = {"title_text": panel.x_title}
    if panel.names:
        places = list(range(1, len(panel.names) + 1))
        x_axis = {"title_text": "", "tickvals": places, "ticktext": list(panel.names)}
    y_axis: dict[str, Any] = {"title_text": panel.y_title}
    if panel.log:
        y_axis["type"] = "log"
    elif panel.from_zero:
        y_axis["rangemode"] = "tozero"
    made.update_xaxes(showgrid=True, **x_axis, **place)
    made.update_yaxes(showgrid=True, **y_axis, **place)


def _band_and_runs(panel: Panel, trace: Trace, band: Band, colour: str) -> Iterator[dict[str, Any]]:
    """The band, as a polygon, and a thin line for each run."""
    faint = {"opacity": 0.25, "hoverinfo": "skip"}
    ends = panel.band(trace, band)
    if ends is not None:
        low, high = ends
        known = np.isfinite(trace.x + low + high)
        x = trace.x[known]
        low = low[known]
        high = high[known]
        yield {
            **faint,
            "x": [*x, *x[::-1]],
            "y": [*high, *low[::-1]],
            "fill": "toself",
            "line": {"width": 0, "color": colour},
        }
    if len(trace.values) > 1:
        for values in trace.values:
            yield {**faint, "x": trace.x, "y": values, "line": {"color": colour, "width": 1}}
