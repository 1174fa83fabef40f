"""How much is done of something long: a bar in a terminal, or lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mpifl.terminal.numbers import duration
from mpifl.terminal.output import hide_before_text, is_terminal, printable, say, write
from mpifl.terminal.pages import width

_BAR_WIDTH = 20
_SECONDS_BETWEEN_BARS = 0.1
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_UNTIL_ESTIMATE = 2.0


@contextmanager
def progress_bar(
    label: str, total: int, shown: bool = True, in_logs: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr, if `shown` and if that is a terminal, until the end of the block.

    With `in_logs`, print a line every ten seconds where stderr is no terminal. Gives a function
    that adds to what is done. `say` may be called inside.
    """
    if shown and in_logs and not is_terminal(sys.stderr):
        yield _ProgressLines(label, total).advance
        return
    if not shown or not is_terminal(sys.stderr):
        yield lambda done: None
        return
    bar = _Bar(printable(label), total)
    hide_before_text(bar.hide)
    try:
        yield bar.advance
    finally:
        bar.hide()
        hide_before_text(None)


class _Bar:
    """A progress bar in the last line of a terminal."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = max(1, total)
        self._done = 0
        self._begun = time.monotonic()
        self._drawn_at = -_SECONDS_BETWEEN_BARS
        self._drawn = ""

    def advance(self, done: int) -> None:
        """Add to what is done."""
        self._done += done
        now = time.monotonic()
        if now - self._drawn_at >= _SECONDS_BETWEEN_BARS:
            self._drawn_at = now
            self._draw(now - self._begun)

    def _draw(self, seconds: float) -> None:
        share = min(1.0, self._done / self._total)
        full = round(_BAR_WIDTH * share)
        text = f"[{'#' * full}{'-' * (_BAR_WIDTH - full)}] {self._done:,}/{self._total:,}"
        if seconds > _SECONDS_UNTIL_ESTIMATE and share > 0:
            text += f", left {duration(seconds * (1 - share) / share)}"
        self.hide()
        self._drawn = f"{text}, {self._label}"[: width() - 1]
        write(sys.stderr, self._drawn)

    def hide(self) -> None:
        """Clear the line, until the bar is drawn again."""
        if self._drawn:
            blank = " " * len(self._drawn)
            write(sys.stderr, f"\r{blank}\r")
        self._drawn = ""


class _ProgressLines:
    """Lines in a log that tell how much is done."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = max(1, total)
        self._done = 0
        self._begun = time.monotonic()
        self._printed_at = self._begun

    def advance(self, done: int) -> None:
        """Add to what is done."""
        self._done += done
        now = time.monotonic()
        if now - self._printed_at >= _SECONDS_BETWEEN_LINES:
            self._printed_at = now
            share = min(1.0, self._done / self._total)
            line = f"{self._done:,}/{self._total:,} {self._label}"
            if share > 0:
                line += f", left {duration((now - self._begun) * (1 - share) / share)}"
            say(line, error=True)
