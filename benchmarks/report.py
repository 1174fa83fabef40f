"""The tables that benchmarks print: two times, their ratio with its spread, and the bar."""

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
    """the ratio of CPU seconds: fairer than the clock's where others use the machine"""
    pairs: int
    bar: float | None = None
    """what the ratio must stay under"""
    note: str = ""
    counted_in: str = ""
    """what `ours` and `other` are where they are no seconds"""

    @classmethod
    def counted(
        cls, what: str, ours: float, other: float, bar: float | None = None, note: str = ""
    ) -> Row:
        """Two numbers that do not vary from time to time."""
        return cls(
            what,
            ours,
            other,
            ours / other,
            ours / other,
            ours / other,
            ours / other,
            1,
            bar,
            note,
            "count",
        )

    @classmethod
    def of(cls, what: str, pairs: Pairs, bar: float | None = None, note: str = "") -> Row:
        low, ratio, high = np.quantile(pairs.ratios(), (0.25, 0.5, 0.75)).tolist()
        cpu = float(np.median(pairs.ratios("cpu")))
        return cls(what, *pairs.medians(), ratio, low, high, cpu, len(pairs.ours), bar, note)

    def cells(self) -> list[str]:
        bar = (
            ""
            if self.bar is None
            else f"< {self.bar:g}: {'yes' if self.ratio < self.bar else 'NO'}"
        )
        spread = f"{self.low:.3f} .. {self.high:.3f}"
        told = _plain if self.counted_in else _milliseconds
        times = told(self.ours), told(self.other)
        return [
            self.what,
            *times,
            f"{self.ratio:.3f}",
            spread,
            f"{self.cpu:.3f}",
            str(self.pairs),
            bar,
            self.note,
        ]


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


def _plain(count: float) -> str:
    return f"{count:.3g}" if count < 100 else f"{count:,.0f}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"
