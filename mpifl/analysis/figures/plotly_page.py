"""One HTML page that needs nothing else: hover for numbers, drag to zoom, click a name to hide its
traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.io as pio
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from mpifl.analysis.figures.matplotlib_figures import COLOURS
from mpifl.analysis.figures.panels import Band, Panel, Trace

_ACROSS = 3
_DASHES = ("solid", "dash", "dot", "dashdot")
_STYLE = "<style>body{font:14px system-ui,sans-serif;margin:1.5em auto;max-width:1150px}</style>"


def document(figures: Sequence[Figure | dict[str, Any]], title: str) -> str:
    """Plotly's `figures`, one below the other. The page fetches nothing: it can be sent, kept, and
    opened offline.
    """
    parts = [
        pio.to_html(made, full_html=False, include_plotlyjs=not i) for i, made in enumerate(figures)
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>{_STYLE}'
    return f"{head}<h1>{escape(title)}</h1>{''.join(parts)}</html>"


def page(panels: Sequence[Panel], title: str, band: Band = "std") -> str:
    """The panels' page: means, the bands over runs, and each run as a faint line."""
    across = min(_ACROSS, len(panels))
    rows = -(-len(panels) // across)
    titles = [panel.title for panel in panels]
    made = make_subplots(
        rows, across, subplot_titles=titles, vertical_spacing=0.3 / rows, horizontal_spacing=0.08
    )
    for number, panel in enumerate(panels):
        _draw(
            made,
            panel,
            band,
            first=not number,
            place={"row": 1 + number // across, "col": 1 + number % across},
        )
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1 + 0.12 / rows}
    made.update_layout(
        height=110 + 310 * rows, template="simple_white", legend=legend, margin={"l": 60, "r": 20}
    )
    return document([made], title)


def _draw(made: Figure, panel: Panel, band: Band, first: bool, place: dict[str, int]) -> None:
    for number, trace in enumerate(panel.traces):
        colour, dash = (
            COLOURS[number % len(COLOURS)],
            _DASHES[number // len(COLOURS) % len(_DASHES)],
        )
        group = {
            "legendgroup": trace.label,
            "name": trace.label,
            "showlegend": False,
            "mode": "lines",
        }
        made.add_traces(
            [{**group, **drawn} for drawn in _spread(panel, trace, band, colour)], **_every(place)
        )
        mean = {
            **group,
            "mode": "lines+markers",
            "showlegend": first,
            "marker": {"size": 3},
            "x": trace.x,
        }
        made.add_trace({**mean, "y": trace.mean, "line": {"color": colour, "dash": dash}}, **place)
        mark = panel.marks[number] if number < len(panel.marks) else None
        if mark is not None:
            made.add_hline(mark, line={"color": colour, "dash": "dot", "width": 1}, **place)
    names = (
        {"tickvals": [*range(1, len(panel.names) + 1)], "ticktext": list(panel.names)}
        if panel.names
        else {}
    )
    made.update_xaxes(
        title_text="" if panel.names else panel.x_title, showgrid=True, **names, **place
    )
    kind = {"type": "log"} if panel.log else {"rangemode": "tozero"} if panel.from_zero else {}
    made.update_yaxes(title_text=panel.y_title, showgrid=True, **kind, **place)


def _spread(panel: Panel, trace: Trace, band: Band, colour: str) -> Iterator[dict[str, Any]]:
    """The band, as a polygon, and each run."""
    thin = {
        "x": trace.x,
        "line": {"color": colour, "width": 1},
        "opacity": 0.25,
        "hoverinfo": "skip",
    }
    if ends := panel.band(trace, band):
        low, high = ends
        known = np.isfinite(trace.x + low + high)
        x, y = (
            [*there[known], *back[known][::-1]] for there, back in ((trace.x, trace.x), (high, low))
        )
        yield {**thin, "x": x, "y": y, "fill": "toself", "line": {"width": 0, "color": colour}}
    if len(trace.values) > 1:
        yield from ({**thin, "y": values} for values in trace.values)


def _every(place: dict[str, int]) -> dict[str, int]:
    return {f"{name}s": number for name, number in place.items()}
