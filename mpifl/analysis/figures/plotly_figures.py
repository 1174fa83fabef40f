"""Figures for pages: panels as plotly draws them. A figure is a dict of its data and its layout.

All figures of a page have THEME; `plotly_page` writes the page around them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np

from mpifl.analysis.figures.panels import COLOURS, Band, Panel, Trace, band_in_words

Figure = dict[str, Any]
"""{"data": [...], "layout": {...}}"""

DASHES = ("solid", "dash", "dot", "dashdot")
"""the second is used when the colours are used up, and so on"""

_MOST_MARKERS = 60
_FEW_DECADES = 3
_MOST_DECADES = 9

TEXT = "#222222"
_LINE = "#444444"
_GRID = "#e3e3e3"

AXIS: dict[str, Any] = {
    "automargin": True,
    "gridcolor": _GRID,
    "linecolor": _LINE,
    "showgrid": True,
    "showline": True,
    "ticks": "outside",
    "tickcolor": _LINE,
    "tickangle": 0,
    "nticks": 7,
    "zeroline": False,
}
"""of every plane axis"""

THEME: dict[str, Any] = {
    "autosize": True,
    "font": {"family": "system-ui, sans-serif", "size": 12, "color": TEXT},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "colorway": list(COLOURS),
    "hovermode": "closest",
    "hoverlabel": {
        "align": "left",
        "bgcolor": "white",
        "bordercolor": _LINE,
        "font": {"size": 12, "color": TEXT},
        "namelength": -1,
    },
    "margin": {"l": 55, "r": 14, "t": 30, "b": 45},
    "showlegend": False,
}
"""the layout that all figures of a page begin with"""


def axis(title: str, **how: Any) -> dict[str, Any]:
    """A plane axis in the theme, with its title."""
    return {**AXIS, "title": {"text": escaped(title), "standoff": 8}, **how}


def title_of(text: str) -> dict[str, Any]:
    """A figure's title in the theme: small, above the plot's left edge."""
    return {"text": escaped(text), "font": {"size": 13}, "x": 0, "xref": "paper", "xanchor": "left"}


def escaped(text: str) -> str:
    """Text as plotly shows it: it reads `<`, `>` and `&` as HTML."""
    return escape(text, quote=False)


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of the line of the group of this number."""
    dashes = DASHES[number // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[number % len(COLOURS)], "dash": dashes}


def panel_figure(panel: Panel, band: Band = "std") -> Figure:
    """A panel: for each trace its mean, its band, a faint line for each run, and its mark.

    Traces of one group have the `legendgroup` of its number.
    """
    data: list[dict[str, Any]] = []
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
    }
    return {"data": data, "layout": layout}


def _drawn(
    panel: Panel, trace: Trace, band: Band, line: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The band as a polygon, a thin line for each of several runs, and the mean above them."""
    ends = panel.band(trace, band)
    if ends is not None:
        low, high = ends
        known = np.isfinite(trace.x + low + high)
        x = trace.x[known]
        yield {
            "mode": "lines",
            "x": [*x.tolist(), *x[::-1].tolist()],
            "y": [*high[known].tolist(), *low[known][::-1].tolist()],
            "fill": "toself",
            "line": {"width": 0, "color": line["color"]},
            "opacity": 0.25,
            "hoverinfo": "skip",
        }
    if len(trace.values) > 1:
        for run, values in enumerate(trace.values):
            yield {
                **_hover([_text_of_run(panel, trace, run, at) for at in range(len(values))]),
                "mode": "lines",
                "x": numbers(trace.x),
                "y": numbers(values),
                "line": {"color": line["color"], "width": 1},
                "opacity": 0.35,
            }
    yield {
        **_hover([_text_of_mean(panel, trace, at, band) for at in range(len(trace.x))]),
        "mode": "lines+markers" if len(trace.x) <= _MOST_MARKERS else "lines",
        "marker": {"size": 4},
        "x": numbers(trace.x),
        "y": numbers(trace.mean),
        "line": {**line, "width": 2},
    }


def _mark(panel: Panel, trace: Trace, mark: float, line: dict[str, Any]) -> dict[str, Any]:
    """A dotted line at a trace's published value."""
    known = trace.x[np.isfinite(trace.x)]
    value = with_unit(mark, panel.y_unit)
    text = f"<b>{escaped(trace.label)}</b><br>published {escaped(panel.y_name)} {value}"
    return {
        **_hover([text, text]),
        "mode": "lines",
        "x": [float(known.min()), float(known.max())],
        "y": [mark, mark],
        "line": {"color": line["color"], "dash": "dot", "width": 1},
    }


def _hover(texts: Sequence[str]) -> dict[str, Any]:
    return {"text": list(texts), "hovertemplate": "%{text}<extra></extra>"}


def _text_of_run(panel: Panel, trace: Trace, run: int, at: int) -> str:
    """What is read at a point of a single run: group, run, value, place."""
    value = written(trace.values[run, at])
    if len(trace.errors) and np.isfinite(trace.errors[run, at]):
        value = f"{value} ± {trace.errors[run, at]:.2g}"
    value = f"{value} {panel.y_unit}".rstrip()
    return _lines(panel, trace, at, value, escaped(trace.name_of(run)))


def _text_of_mean(panel: Panel, trace: Trace, at: int, band: Band) -> str:
    """What is read at a point of a mean: group, value ± spread, place, of how many runs."""
    runs = len(trace.values)
    value = written(trace.mean[at])
    if runs == 1:
        return _text_of_run(panel, trace, 0, at)
    ends = trace.band(band)
    if ends is not None and band == "range":
        low, high = ends
        value = f"{value} ({written(low[at])} to {written(high[at])})"
    elif ends is not None:
        value = f"{value} ± {float(trace.mean[at] - ends[0][at]):.2g}"
    of = f"{band_in_words(band).rstrip(',')} of {runs} runs"
    return _lines(panel, trace, at, f"{value} {panel.y_unit}".rstrip(), of)


def _lines(panel: Panel, trace: Trace, at: int, value: str, of: str) -> str:
    """The lines of a hover label, short enough for a narrow screen."""
    if panel.names:
        place = escaped(panel.names[at])
    else:
        place = f"{escaped(panel.x_name)} {with_unit(trace.x[at], panel.x_unit)}"
    what = f"{escaped(panel.y_name)} {value}"
    return "<br>".join((f"<b>{escaped(trace.label)}</b>", what, place, of))


def with_unit(value: float, unit: str) -> str:
    """A number with its unit, if it has one."""
    return f"{written(value)} {unit}".rstrip()


def written(value: float) -> str:
    """A number in about four digits, without an exponent where it has few.

    >>> written(93.8721), written(12345.6), written(0.98431), written(3.0)
    ('93.87', '12,346', '0.9843', '3')
    """
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def numbers(values: np.ndarray) -> list[float | None]:
    """A vector as a page has it: None, a gap, where a number is not finite."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


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


def log_ticks(values: np.ndarray) -> dict[str, Any]:
    """Ticks of a logarithmic axis at 1, 2 and 5 of each decade, or at decades where these are many.

    Numbers are written as people write them: 0.1, not 1e-01 or a power of ten.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return {}
    decades = range(
        math.floor(math.log10(positive.min())), math.ceil(math.log10(positive.max())) + 1
    )
    step = 1 + len(decades) // _MOST_DECADES
    digits = (1, 2, 5) if len(decades) <= _FEW_DECADES else (1,)
    ticks = []
    for decade in decades[::step]:
        ticks += [float(f"{digit}e{decade}") for digit in digits]
    return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
