"""How figures look: sizes and colours fit for a paper, lines with bands, squares of numbers.

Needs matplotlib, which the extra `analysis` brings.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from mpifl.analysis.figures.panels import Band, Panel, Trace

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe & Ito (2008), in an order that tells neighbours apart, also where colours are not seen;
then brown
"""

DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
"""the second time round the colours, and so on"""

STYLE = {
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
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "mpifl",
}

FORMATS = ("png", "pdf", "svg")
_MOST_NAMES = 12  # that are legible along an axis
_NO_DATE = {"pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}, "png": {}}

Given = ParamSpec("Given")


def styled(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """`draw` in the style of all figures here, whatever matplotlib has been set to."""

    @wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "agg", **STYLE}):
            return draw(*args, **kwargs)

    return drawn


@styled
def figure(
    panels: Sequence[Panel],
    across: int = 2,
    band: Band = "std",
    size: tuple[float, float] = (2.9, 2.1),
) -> Figure:
    """The panels, `across` in a row and each of `size` inches, under one legend. Bands are over
    runs.
    """
    across = min(across, len(panels))
    rows = -(-len(panels) // across)
    made = Figure((size[0] * across, size[1] * rows + 0.3), layout="constrained")
    places = made.subplots(rows, across, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        _draw(axes, panel, band)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    _legend(made, places[0])
    return made


def _draw(axes: Axes, panel: Panel, band: Band) -> None:
    if panel.log:
        axes.set_yscale("log")
        for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            ticks(_Plain(minor_thresholds=(1.2, 0.4)))
    for number, trace in enumerate(panel.traces):
        _line(axes, number, panel, trace, band)
    for number, mark in enumerate(panel.marks):
        if mark is not None:
            axes.axhline(mark, linewidth=0.8, linestyle=":", color=_look(number)["color"])
    axes.set(xlabel=panel.x_title, ylabel=panel.y_title, title=panel.title)
    axes.margins(x=0.02)
    if panel.whole:
        axes.xaxis.set_major_locator(
            MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        )
    if 0 < len(panel.names) <= _MOST_NAMES:
        places = range(1, len(panel.names) + 1)
        axes.set_xticks(
            places, panel.names, rotation=50, ha="right", rotation_mode="anchor", size=6
        )
        axes.set_xlabel("")
    if panel.from_zero and not panel.log:
        axes.update_datalim([(axes.dataLim.x0, 0)], updatex=False)
        axes.autoscale_view(scalex=False)
        axes.set_ylim(bottom=0)
    if not panel.log:
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, panel.limits[0]), min(top, panel.limits[1]))


def _line(axes: Axes, number: int, panel: Panel, trace: Trace, band: Band) -> None:
    """A trace's mean with its band, in the look of its number; with marks where points are few."""
    known = np.isfinite(trace.x) & np.isfinite(trace.mean)
    mark = "o" if known.sum() <= _MOST_NAMES else None
    axes.plot(
        trace.x[known],
        trace.mean[known],
        label=trace.label,
        marker=mark,
        markersize=2.5,
        **_look(number),
    )
    ends = panel.band(trace, band)
    if ends is not None:
        low, high = (end[known] for end in ends)
        axes.fill_between(
            trace.x[known], low, high, color=_look(number)["color"], alpha=0.18, linewidth=0
        )


def _look(number: int) -> dict:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def _legend(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, above them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=_fitting(labels, figure.get_size_inches()[0]),
    )


def _fitting(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend fit in `width` inches; it is filled column by column."""
    for columns in range(len(labels), 1, -1):
        rows = -(-len(labels) // columns)
        widest = [max(map(len, labels[i : i + rows])) for i in range(0, len(labels), rows)]
        if sum(0.55 + 0.058 * letters for letters in widest) <= width:
            return columns
    return 1


class _Plain(LogFormatter):
    """The labels of a logarithmic axis as numbers people write: 0.1, not 1e-01 or a power of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}".replace("e-0", "e-") if super().__call__(x, pos) else ""


@styled
def matrices(
    labels: Sequence[str], ids: Sequence[Sequence[int]], values: Sequence[np.ndarray], title: str
) -> Figure:
    """A square of colours for each of `values` [k, k] over clients `ids`, all on one scale, the
    diagonal left out.
    """
    apart = [np.where(np.eye(len(square), dtype=bool), np.nan, square) for square in values]
    most = max(
        [0.05, *(float(np.nanmax(np.abs(square))) for square in apart if np.isfinite(square).any())]
    )
    made = Figure((2.3 * len(values) + 0.7, 2.7), layout="constrained")
    places = made.subplots(1, len(values), squeeze=False)[0]
    for axes, label, clients, square in zip(places, labels, ids, apart, strict=True):
        image = axes.imshow(square, cmap="RdBu_r", vmin=-most, vmax=most)
        axes.set(title=label, xlabel="client")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        for axis, ticks in ((axes.xaxis, axes.set_xticks), (axes.yaxis, axes.set_yticks)):
            ticks(
                range(len(clients)),
                clients if len(clients) <= _MOST_NAMES else [""] * len(clients),
                size=6,
            )
            axis.set_tick_params(length=0)
    made.colorbar(image, ax=places.tolist(), shrink=0.8, label=title)
    return made


def rendered(figure: Figure, form: str) -> memoryview:
    """A figure as a file of one of FORMATS; the same figure gives the same bytes."""
    image = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(image, format=form, dpi=300, metadata=_NO_DATE[form])
    return image.getbuffer()
