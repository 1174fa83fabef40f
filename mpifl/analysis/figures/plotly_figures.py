"""Figures for pages: panels as plotly draws them. A figure is a dict of its data and its layout.

All figures of a page have THEME; `plotly_page` writes the page around them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import COLOURS, Band, Panel, Trace, band_in_words

Figure = dict[str, Any]
"""{"data": [...], "layout": {...}}"""

DASHES = ("solid", "dash", "dot", "dashdot")
"""the second is used when the colours are used up, and so on"""

_MOST_MARKERS = 60
_FEW = 5.0
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
        "line": {"color": _LINE, "dash": "dot", "width": 1},
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
                **_hover(panel, trace, _texts_of_run(trace, run), escaped(trace.name_of(run))),
                "mode": "lines" if panel.line else "markers",
                "marker": {"size": 3},
                "x": numbers(trace.x),
                "y": numbers(values),
                "line": {"color": line["color"], "width": 1},
                "opacity": 0.35,
            }
        texts = _texts_of_mean(trace, band)
        of = f"{band_in_words(band).rstrip(',')} of {runs} runs"
    else:
        texts = _texts_of_run(trace, 0)
        of = escaped(trace.name_of(0))
    yield {
        **_hover(panel, trace, texts, of),
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
        "hovertemplate": f"{_literal(text)}<extra></extra>",
        "mode": "lines",
        "x": [float(known.min()), float(known.max())],
        "y": [mark, mark],
        "line": {"color": line["color"], "dash": "dot", "width": 1},
    }


def _hover(panel: Panel, trace: Trace, texts: Sequence[str], of: str) -> dict[str, Any]:
    """What is read at each point: group, quantity and value, place, and `of` which runs it is.

    `texts`: the values with their spread. Lines are short enough for a narrow screen.
    """
    value = f"{escaped(panel.y_name)} %{{text}} {panel.y_unit}".rstrip()
    lines = [f"<b>{_literal(escaped(trace.label))}</b>", value, _place(panel), _literal(of)]
    hover: dict[str, Any] = {
        "text": list(texts),
        "hovertemplate": "<br>".join(lines) + "<extra></extra>",
    }
    if panel.names:
        hover["customdata"] = [escaped(name) for name in panel.names]
    return hover


def _place(panel: Panel) -> str:
    """Where a point is, as a template: the name of what is along x, or its number."""
    if panel.names:
        return "%{customdata}"
    form = "d" if panel.whole else ",.4~r"
    return f"{escaped(panel.x_name)} %{{x:{form}}} {panel.x_unit}".rstrip()


def _literal(text: str) -> str:
    """Text in a template, where `%{` would begin a variable."""
    return text.replace("%{", "% {")


def _texts_of_run(trace: Trace, run: int) -> list[str]:
    """Each value of a run, with its error where that is known."""
    texts = [written(value) for value in trace.values[run].tolist()]
    if trace.texts:
        return [f"{text} ({what})" for text, what in zip(texts, trace.texts[run], strict=True)]
    if not len(trace.errors):
        return texts
    with_errors = []
    for text, error in zip(texts, trace.errors[run].tolist(), strict=True):
        with_errors.append(f"{text} ± {error:.2g}" if math.isfinite(error) else text)
    return with_errors


def _texts_of_mean(trace: Trace, band: Band) -> list[str]:
    """Each mean of several runs, with the spread that the band shows."""
    means = trace.mean
    texts = [written(value) for value in means.tolist()]
    ends = trace.band(band)
    if ends is None:
        return texts
    low, high = ends
    if band == "range":
        spreads = [f"({written(a)} to {written(b)})" for a, b in zip(low, high, strict=True)]
    else:
        spreads = [f"± {half:.2g}" for half in (means - low).tolist()]
    return [f"{text} {spread}" for text, spread in zip(texts, spreads, strict=True)]


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
    """A vector as a page has it: seven digits; None, a gap, where a number is not finite."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values.tolist()]


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
    """Ticks of a logarithmic axis, as people write numbers: 0.1, not 1e-01 or a power of ten.

    They are at 1, 2 and 5 of each decade, at decades only where these are many, and evenly spaced
    where the values lie within a factor of 5.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return {}
    low = float(positive.min())
    high = float(positive.max())
    ticks = _even_ticks(low, high) if high < _FEW * low else _ticks_by_decade(low, high)
    return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _ticks_by_decade(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    step = 1 + len(decades) // _MOST_DECADES
    digits = (1, 2, 5) if len(decades) <= _FEW_DECADES else (1,)
    ticks = []
    for decade in decades[::step]:
        ticks += [float(f"{digit}e{decade}") for digit in digits]
    return ticks


def _even_ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers around values that lie close together."""
    rough = max(high - low, 1e-3 * low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * unit for digit in (1, 2, 5, 10) if digit * unit >= rough)
    first = math.floor(low / step)
    last = math.ceil(high / step)
    return [float(f"{number * step:.6g}") for number in range(first, last + 1) if number > 0]
