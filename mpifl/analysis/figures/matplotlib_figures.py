"""Figures for papers, drawn by matplotlib: lines with bands, and matrices of numbers."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, LogFormatter, MaxNLocator

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import COLOURS, PICTURES, Band, Panel, Trace, in_words

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
"""the second is used when the colours are used up, and so on"""

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "mpifl",
}

FORMATS = PICTURES
_MOST_NAMES = 12  # more are not legible along an axis
_NO_DATE: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "svg": {"Date": None},
    "png": {},
}

Given = ParamSpec("Given")


def styled(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Decorator: draw in STYLE, whatever the user's matplotlib settings are."""
    defaults: dict[Any, Any] = dict(matplotlib.rcParamsDefault)

    @wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with matplotlib.rc_context({**defaults, "backend": "agg", **STYLE}):
            return draw(*args, **kwargs)

    return drawn


@styled
def figure(
    panels: Sequence[Panel | HeatMap],
    across: int = 2,
    band: Band = "std",
    size: tuple[float, float] = (2.9, 2.1),
) -> Figure:
    """The panels and maps, `across` in a row, each of `size` inches, under one legend."""
    across = min(across, len(panels))
    rows = math.ceil(len(panels) / across)
    made = Figure((size[0] * across, size[1] * rows + 0.3), layout="constrained")
    places = made.subplots(rows, across, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        if isinstance(panel, HeatMap):
            _draw_map(made, axes, panel)
        else:
            _draw(axes, panel, band)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    if isinstance(panels[0], Panel):
        _legend(made, places[0], in_words(panels, band))
    return made


def _draw(axes: Axes, panel: Panel, band: Band) -> None:
    if panel.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_PlainNumbers(minor_thresholds=(1.2, 0.4)))
        axes.yaxis.set_minor_formatter(_PlainNumbers(minor_thresholds=(1.2, 0.4)))
    for number, trace in enumerate(panel.traces):
        _draw_trace(axes, number, panel, trace, band)
    if panel.shaded:
        axes.axvspan(*panel.shaded, color="#999999", alpha=0.25, linewidth=0)
        axes.text(
            panel.shaded[1],
            0.97,
            f" {panel.shaded_as}",
            va="top",
            size=6.5,
            color="#444444",
            transform=axes.get_xaxis_transform(),
        )
    if panel.diagonal:
        axes.axline((0, 0), slope=1, linewidth=0.8, linestyle=":", color="#444444")
    for number, mark in enumerate(panel.marks):
        if mark is not None:
            axes.axhline(mark, linewidth=0.8, linestyle=":", color=_look(number)["color"])
    axes.set(xlabel=panel.x_title, ylabel=panel.y_title, title=panel.title)
    axes.margins(x=0.02)
    _draw_x_axis(axes, panel)
    if not panel.log:
        _limit_y_axis(axes, panel)


def _draw_x_axis(axes: Axes, panel: Panel) -> None:
    """Ticks at whole numbers, or the names of what is along the axis."""
    if panel.whole:
        ticks = MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        axes.xaxis.set_major_locator(ticks)
    if 0 < len(panel.names) <= _MOST_NAMES:
        axes.set_xticks(
            range(1, len(panel.names) + 1),
            panel.names,
            rotation=50,
            ha="right",
            rotation_mode="anchor",
            size=6,
        )
        axes.set_xlabel("")


def _limit_y_axis(axes: Axes, panel: Panel) -> None:
    """End the axis at 0, if the panel begins there, and at the limits of its values."""
    if panel.from_zero:
        axes.update_datalim([(axes.dataLim.x0, 0)], updatex=False)
        axes.autoscale_view(scalex=False)
        axes.set_ylim(bottom=0)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, panel.limits[0]), min(top, panel.limits[1]))


def _draw_trace(axes: Axes, number: int, panel: Panel, trace: Trace, band: Band) -> None:
    """The trace's mean with its band; with markers where points are few."""
    known = np.isfinite(trace.x) & np.isfinite(trace.mean)
    look = _look(number)
    marker = "o" if known.sum() <= _MOST_NAMES or not panel.line else None
    # Where a value is not known, the line has a gap, as on the page.
    if not panel.line:
        look["linestyle"] = "none"
    axes.plot(trace.x, trace.mean, label=trace.label, marker=marker, markersize=2.5, **look)
    ends = panel.band(trace, band)
    if ends is None:
        return
    low, high = ends
    if panel.line:
        axes.fill_between(trace.x, low, high, color=look["color"], alpha=0.18, linewidth=0)
    else:
        axes.vlines(trace.x, low, high, color=look["color"], alpha=0.4, linewidth=0.8)


def _draw_map(made: Figure, axes: Axes, heat: HeatMap) -> None:
    """The map with its own scale of colours; rows from the top down, as they are read."""
    image = axes.imshow(
        heat.values,
        aspect="auto",
        interpolation="nearest",
        vmin=heat.limits[0],
        vmax=heat.limits[1],
    )
    axes.set(xlabel=heat.x_title, ylabel=heat.y_title, title=heat.title)
    axes.grid(visible=False)
    for axis, numbers in ((axes.xaxis, heat.x), (axes.yaxis, heat.y)):
        axis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axis.set_major_formatter(_Numbers(numbers))
    made.colorbar(image, ax=axes, label=heat.value_title)


def _look(number: int) -> dict[str, Any]:
    """Colour and dashes of the group of this number."""
    dashes = DASHES[number // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": dashes}


def _legend(figure: Figure, axes: Axes, title: str) -> None:
    """One legend for all panels, above them. Its title says what lines and bands are."""
    handles, labels = axes.get_legend_handles_labels()
    columns = _legend_columns([str(label) for label in labels], figure.get_size_inches()[0])
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, title=title)


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend fit in `width` inches; it is filled column by column."""
    for columns in range(len(labels), 1, -1):
        letters = np.array([len(label) for label in labels])
        widths = [0.55 + 0.058 * column.max() for column in np.array_split(letters, columns)]
        if sum(widths) <= width:
            return columns
    return 1


class _Numbers(Formatter):
    """Labels of a map's axis: the numbers that its columns or rows stand for."""

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers = numbers

    def __call__(self, x: float, pos: int | None = None) -> str:
        place = round(x)
        is_there = place == x and 0 <= place < len(self._numbers)
        return str(self._numbers[place]) if is_there else ""


class _PlainNumbers(LogFormatter):
    """Labels of a logarithmic axis as people write numbers: 0.1, not 1e-01 or a power of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}".replace("e-0", "e-") if super().__call__(x, pos) else ""


@styled
def matrices(
    labels: Sequence[str], ids: Sequence[Sequence[int]], values: Sequence[np.ndarray], title: str
) -> Figure:
    """A square of colours for each of `values` [k, k] over clients `ids`, on one scale.

    The diagonal is left out.
    """
    squares = []
    for square in values:
        squares.append(np.where(np.eye(len(square), dtype=bool), np.nan, square))
    largest = _largest(squares)
    made = Figure((2.3 * len(values) + 0.7, 2.7), layout="constrained")
    places = made.subplots(1, len(values), squeeze=False)[0]
    for axes, label, clients, square in zip(places, labels, ids, squares, strict=True):
        image = axes.imshow(square, cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes.set(title=label, xlabel="client", ylabel="client")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        names = list(clients) if len(clients) <= _MOST_NAMES else [""] * len(clients)
        axes.set_xticks(range(len(clients)), names, size=6)
        axes.set_yticks(range(len(clients)), names, size=6)
        axes.tick_params(length=0)
    made.colorbar(image, ax=places.tolist(), shrink=0.8, label=title)
    return made


def _largest(squares: Sequence[np.ndarray]) -> float:
    """The largest absolute value, at least 0.05."""
    largest = 0.05
    for square in squares:
        if np.isfinite(square).any():
            largest = max(largest, float(np.nanmax(np.abs(square))))
    return largest


def rendered(figure: Figure, form: str) -> memoryview:
    """A figure as a file of one of FORMATS; the same figure gives the same bytes."""
    image = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(image, format=form, dpi=300, metadata=_NO_DATE[form])
    return image.getbuffer()
