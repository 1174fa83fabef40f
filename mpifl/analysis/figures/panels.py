"""What a figure shows, before it is drawn: panels of traces, each the runs of one group along an
axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Band = Literal["std", "sem", "range", "none"]
"""sample standard deviation (n - 1), that of the mean, least to greatest, nothing"""


@dataclass(frozen=True, eq=False)
class Trace:
    """A quantity of each run of a group along an axis."""

    label: str
    x: np.ndarray
    """(n)"""
    values: np.ndarray
    """(runs, n)"""

    @property
    def mean(self) -> np.ndarray:
        """(n)"""
        return self.values.mean(0)

    @property
    def std(self) -> np.ndarray:
        """(n): sample standard deviation over the runs (n - 1); NaN for one run."""
        return self.values.std(0, ddof=1) if len(self.values) > 1 else np.full(len(self.x), np.nan)

    def band(self, kind: Band = "std") -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper end (n) of the spread; None for one run and for "none"."""
        if len(self.values) == 1 or kind == "none":
            return None
        if kind == "range":
            return self.values.min(0), self.values.max(0)
        half = self.std / (len(self.values) ** 0.5 if kind == "sem" else 1)
        return self.mean - half, self.mean + half

    def scaled(self, x: float, y: float) -> Trace:
        """In other units: both axes multiplied."""
        return replace(self, x=self.x * x, values=self.values * y)


@dataclass(frozen=True)
class Panel:
    """One pair of axes: in each panel of a figure the same group has the same place among the
    traces.
    """

    x_title: str
    y_title: str
    traces: Sequence[Trace]
    title: str = ""
    log: bool = False
    """whether the y axis is logarithmic"""
    limits: tuple[float, float] = (-np.inf, np.inf)
    """the least and greatest values that there can be: bands and axes end there"""
    from_zero: bool = False
    """whether the y axis begins at 0"""
    names: Sequence[str] = ()
    """of x = 1, 2, ..., where these are things and no numbers"""
    whole: bool = True
    """whether only whole numbers make sense along x"""
    marks: Sequence[float | None] = ()
    """for each trace a value to compare it with, or None"""

    def band(self, trace: Trace, kind: Band = "std") -> tuple[np.ndarray, np.ndarray] | None:
        """The trace's band within the limits; on a logarithmic axis not below the least run, for it
        may reach 0.
        """
        ends = trace.band(kind)
        if ends is None:
            return None
        low, high = (np.clip(end, *self.limits) for end in ends)
        return (np.maximum(low, trace.values.min(0)) if self.log else low), high


def points(panels: Sequence[Panel]) -> Iterator[dict[str, float | str | int]]:
    """The numbers of `panels`, one row a point of a trace's run: for a CSV file, or a
    pandas.DataFrame.
    """
    for panel in panels:
        for trace in panel.traces:
            for run, values in enumerate(trace.values, 1):
                for x, y in zip(trace.x.tolist(), values.tolist(), strict=True):
                    what = {"quantity": panel.y_title, "of": panel.title, "over": panel.x_title}
                    yield what | {"group": trace.label, "run": run, "x": x, "value": y}
