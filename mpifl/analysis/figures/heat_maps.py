"""A map of numbers by colour, before it is drawn: rows by columns on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Values by two whole numbers, such as class and round. It may stand beside panels."""

    title: str
    x_title: str
    y_title: str
    value_title: str
    x: np.ndarray
    """(n) integers"""
    y: np.ndarray
    """(m) integers"""
    values: np.ndarray
    """(m, n); NaN: nothing is there"""
    limits: tuple[float, float]
    """the values at the two ends of the colours"""
    texts: Sequence[Sequence[str]] = ()
    """(m, n): what a page shows of a cell, instead of its place and value"""

    def points(self) -> Iterator[dict[str, float | str | int]]:
        """A row for each value that is known: for CSV or a pandas.DataFrame."""
        what = {"quantity": self.value_title, "of": self.title}
        for y, row in zip(self.y.tolist(), self.values.tolist(), strict=True):
            for x, value in zip(self.x.tolist(), row, strict=True):
                if value == value:
                    yield {**what, self.y_title: y, self.x_title: x, "value": value}
