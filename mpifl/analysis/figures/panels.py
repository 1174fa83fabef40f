"""What a figure shows, before it is drawn: panels, each with one trace for each group of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mpifl.analysis.figures.heat_maps import HeatMap

Band = Literal["std", "sem", "range", "none"]
"""sample standard deviation (n - 1), standard error of the mean, least to greatest, nothing"""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""the colours of Okabe & Ito (2008), which colour-blind readers can tell apart; then brown"""

PICTURES = ("png", "pdf", "svg")
"""suffixes of the files that matplotlib draws"""

_BANDS: dict[Band, str] = {
    "std": "mean ± standard deviation",
    "sem": "mean ± standard error",
    "range": "mean, and range from least to greatest,",
    "none": "mean",
}


@dataclass(frozen=True, eq=False)
class Trace:
    """A quantity of each run of a group along an axis."""

    label: str
    x: np.ndarray
    """(n)"""
    values: np.ndarray
    """(runs, n)"""
    runs: Sequence[str] = ()
    """the names of the runs, or nothing"""
    errors: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    """(runs, n): the standard errors of `values`, or empty"""
    texts: Sequence[Sequence[str]] = ()
    """(runs, n): what each point of a run is, such as a client; or nothing"""

    @property
    def mean(self) -> np.ndarray:
        """(n)"""
        return self.values.mean(0)

    @property
    def std(self) -> np.ndarray:
        """(n): sample standard deviation over the runs (n - 1); NaN for one run."""
        if len(self.values) == 1:
            return np.full(len(self.x), np.nan)
        return self.values.std(0, ddof=1)

    def band(self, kind: Band = "std") -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper end (n) of the spread; None for one run and for "none"."""
        if len(self.values) == 1 or kind == "none":
            return None
        if kind == "range":
            return self.values.min(0), self.values.max(0)
        half = self.std
        if kind == "sem":
            half = half / len(self.values) ** 0.5
        return self.mean - half, self.mean + half

    def name_of(self, run: int) -> str:
        """The name of a run, else its number from 1 on."""
        return self.runs[run] if self.runs else f"run {run + 1}"

    def scaled(self, x: float, y: float) -> Trace:
        """In other units: both axes multiplied."""
        return replace(self, x=self.x * x, values=self.values * y, errors=self.errors * abs(y))


@dataclass(frozen=True)
class Panel:
    """One pair of axes. A group has the same place among the traces in all panels of a figure."""

    x_title: str
    y_title: str
    traces: Sequence[Trace]
    title: str = ""
    log: bool = False
    """whether the y axis is logarithmic"""
    limits: tuple[float, float] = (-np.inf, np.inf)
    """the least and greatest possible values, where bands and axes end"""
    from_zero: bool = False
    """whether the y axis begins at 0"""
    names: Sequence[str] = ()
    """of x = 1, 2, ..., where these stand for things such as layers"""
    whole: bool = True
    """whether x takes whole numbers only"""
    marks: Sequence[float | None] = ()
    """for each trace a value to compare it with, drawn as a line, or None"""
    x_unit: str = ""
    """at the end of `x_title`, after a comma; "" for a number without unit"""
    y_unit: str = ""
    """likewise of `y_title`"""
    line: bool = True
    """whether points are joined, as where x is no order but a number, such as of classes"""
    diagonal: bool = False
    """whether the line y = x is drawn, to compare with"""
    shaded: tuple[float, float] | None = None
    """a part of x that is marked"""
    shaded_as: str = ""
    """what that part is"""

    @property
    def x_name(self) -> str:
        """The quantity along x, without its unit."""
        return self.x_title.removesuffix(f", {self.x_unit}")

    @property
    def y_name(self) -> str:
        """The quantity along y, without its unit."""
        return self.y_title.removesuffix(f", {self.y_unit}")

    def band(self, trace: Trace, kind: Band = "std") -> tuple[np.ndarray, np.ndarray] | None:
        """The trace's band within the limits.

        On a logarithmic axis it does not go below the least run, since it may reach 0.
        """
        ends = trace.band(kind)
        if ends is None:
            return None
        low, high = (np.clip(end, *self.limits) for end in ends)
        if self.log:
            low = np.maximum(low, trace.values.min(0))
        return low, high


def band_in_words(band: Band) -> str:
    """What a line and its band are, such as "mean ± standard deviation"."""
    return _BANDS[band]


def in_words(pictures: Sequence[Panel | HeatMap], band: Band = "std") -> str:
    """What the lines and bands of a figure are; "" where each line is one run.

    >>> trace = Trace("fedavg", np.arange(2.0), np.ones((3, 2)))
    >>> in_words([Panel("round", "loss", [trace])])
    'mean ± standard deviation of 3 runs'
    """
    counts: set[int] = set()
    for picture in pictures:
        if isinstance(picture, Panel):
            counts.update(len(trace.values) for trace in picture.traces)
    most = max(counts, default=1)
    if most == 1:
        return ""
    fewest = min(counts)
    runs = f"{most} runs" if fewest == most else f"{fewest} to {most} runs"
    return f"{_BANDS[band]} of {runs}"


def points(pictures: Sequence[Panel | HeatMap]) -> Iterator[dict[str, float | str | int]]:
    """The numbers, a row for each point of each run: for CSV or a pandas.DataFrame."""
    for picture in pictures:
        if isinstance(picture, HeatMap):
            yield from picture.points()
        else:
            yield from _points(picture)


def _points(panel: Panel) -> Iterator[dict[str, float | str | int]]:
    what = {"quantity": panel.y_title, "of": panel.title, "over": panel.x_title}
    for trace in panel.traces:
        for run, values in enumerate(trace.values):
            group: dict[str, float | str | int] = {"group": trace.label, "run": run + 1}
            for place, (x, y) in enumerate(zip(trace.x.tolist(), values.tolist(), strict=True)):
                point = {**what, **group, "x": x, "value": y}
                if trace.texts:
                    point["point"] = trace.texts[run][place]
                yield point
