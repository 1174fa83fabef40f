"""The tables that benchmarks print: two times, their ratio and its spread, and the bar."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.pairs import Pairs


@dataclass(frozen=True)
class Row:
    """One line of a table: medians over interleaved pairs."""

    what: str
    ours: float
    """seconds"""
    other: float
    """seconds"""
    ratio: float
    low: float
    high: float
    """quartiles of the pairs' ratios"""
    cpu: float
    """the ratio of CPU seconds: fairer than that of the clock if others use the machine"""
    pairs: int
    bar: float | None = None
    """what the ratio must stay under"""
    note: str = ""
    counted_in: str = ""
    """what `ours` and `other` count, if they are not seconds"""

    @classmethod
    def counted(
        cls, what: str, ours: float, other: float, bar: float | None = None, note: str = ""
    ) -> Row:
        """Two numbers that are the same each time."""
        ratio = ours / other
        return cls(what, ours, other, ratio, ratio, ratio, ratio, 1, bar, note, "count")

    @classmethod
    def of(cls, what: str, pairs: Pairs, bar: float | None = None, note: str = "") -> Row:
        """Two times, measured in pairs."""
        low, ratio, high = np.quantile(pairs.ratios(), (0.25, 0.5, 0.75)).tolist()
        cpu = float(np.median(pairs.ratios("cpu")))
        return cls(what, *pairs.medians(), ratio, low, high, cpu, len(pairs.ours), bar, note)

    def cells(self) -> list[str]:
        """The row as text, one cell for each column."""
        text_of = _count if self.counted_in else _milliseconds
        return [
            self.what,
            text_of(self.ours),
            text_of(self.other),
            f"{self.ratio:.3f}",
            f"{self.low:.3f} .. {self.high:.3f}",
            f"{self.cpu:.3f}",
            str(self.pairs),
            self._verdict(),
            self.note,
        ]

    def _verdict(self) -> str:
        if self.bar is None:
            return ""
        return f"< {self.bar:g}: {'yes' if self.ratio < self.bar else 'NO'}"


def show(title: str, rows: list[Row]) -> None:
    """Print `rows` as a table."""
    unit = "" if rows[0].counted_in else " ms"
    heads = (
        "ours : other",
        f"ours{unit}",
        f"other{unit}",
        "ratio",
        "middle half",
        "CPU ratio",
        "pairs",
        "bar",
        "note",
    )
    table = Table(*heads, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row.cells())
    Console(width=140).print(table)


def plain(rows: list[Row]) -> list[dict]:
    """`rows` for JSON."""
    return [asdict(row) for row in rows]


def _count(count: float) -> str:
    return f"{count:.3g}" if count < 100 else f"{count:,.0f}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"
