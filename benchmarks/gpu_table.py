"""Lines of the table that `python -m benchmarks gpu` prints, with what they are held to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    seconds: float
    """of a round, or of a step"""
    extrapolated: float | None = None
    """seconds"""
    bar: float | None = None
    """what the last number must stay under"""
    note: str = ""

    def text(self, bars: bool = True) -> str:
        """The line, as it is printed, with what it is held to or without."""
        extrapolated = "" if self.extrapolated is None else f"{self.extrapolated:,.1f} s"
        cells = f"{self.what:<46} {1000 * self.seconds:>10.3f} ms {extrapolated:>12}"
        return f"{cells}  {self._verdict() if bars else '':<12} {self.note}".rstrip()

    def _verdict(self) -> str:
        if self.bar is None:
            return ""
        value = self.seconds if self.extrapolated is None else self.extrapolated
        return f"< {self.bar:g} s: {'yes' if value < self.bar else 'NO'}"


@dataclass(frozen=True)
class Ratio:
    """One line of the table: a number that has no unit."""

    what: str
    value: float
    bar: float | None = None
    least: bool = True
    """whether the bar is the least that it may be, not the most"""
    note: str = ""

    def text(self, bars: bool = True) -> str:
        """The line, as it is printed, with what it is held to or without."""
        cells = f"{self.what:<46} {self.value:>10.3f} {'':>15}"
        return f"{cells}  {self._verdict() if bars else '':<12} {self.note}".rstrip()

    def _verdict(self) -> str:
        if self.bar is None:
            return ""
        is_met = self.value >= self.bar if self.least else self.value < self.bar
        return f"{'>=' if self.least else '<'} {self.bar:g}: {'yes' if is_met else 'NO'}"


Found = Iterator[Line | Ratio]
