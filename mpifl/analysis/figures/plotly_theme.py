"""The look of all figures of a page: colours, fonts, axes and their ticks, titles, numbers."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np

from mpifl.analysis.figures.panels import COLOURS

Figure = dict[str, Any]
"""{"data": [...], "layout": {...}}"""

DASHES = ("solid", "dash", "dot", "dashdot")
"""the second is used when the colours are used up, and so on"""

_FEW = 5.0
_FEW_DECADES = 3
_MOST_DECADES = 9

TEXT = "#222222"
LINE = "#444444"
_GRID = "#e3e3e3"

AXIS: dict[str, Any] = {
    "automargin": True,
    "gridcolor": _GRID,
    "linecolor": LINE,
    "showgrid": True,
    "showline": True,
    "ticks": "outside",
    "tickcolor": LINE,
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
        "bordercolor": LINE,
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
    found: list[float | None] = []
    for value in values.tolist():
        found.append(float(f"{value:.7g}") if math.isfinite(value) else None)
    return found


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
