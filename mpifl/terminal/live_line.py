"""A line at the bottom of a terminal, drawn again every second, below all that is printed.

While it is shown, sys.stdout and sys.stderr are replaced: whatever is written to them, by whichever
thread, stands above the line and does not tear it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_SECONDS_BETWEEN = 1.0
_LONGEST_WAIT = 1.0
"""seconds that text waits for the line: a terminal that is stopped (Ctrl-S) may hold that up, and
an error must come out all the same
"""
_LEAST_COLUMNS = 20


@contextmanager
def live_line(text: Callable[[], str], shown: bool = True) -> Iterator[None]:
    """Show `text()` in the last line of stderr's terminal until the end of the block.

    Nothing is done unless `shown`, where stderr is no terminal, and where it has no width: Open
    MPI's mpirun gives ranks such terminals. Nothing is drawn while the program is in the
    background.
    """
    if not shown or not _has_width(sys.stderr):
        yield
        return
    line = _Line(sys.stderr, text)
    before = (sys.stdout, sys.stderr)
    if _has_width(sys.stdout):
        sys.stdout = _Above(sys.stdout, line)  # type: ignore[assignment]  # it does what that does
    sys.stderr = _Above(sys.stderr, line)  # type: ignore[assignment]
    ended = threading.Event()
    drawing = threading.Thread(target=_draw_until, args=(ended, line), daemon=True)
    drawing.start()
    try:
        yield
    finally:
        ended.set()
        drawing.join(_LONGEST_WAIT)
        line.end()
        if isinstance(sys.stdout, _Above):  # `say` may have replaced a stream that failed
            sys.stdout = before[0]
        if isinstance(sys.stderr, _Above):
            sys.stderr = before[1]


def _has_width(stream: TextIO | None) -> bool:
    return _width(stream) >= _LEAST_COLUMNS and os.environ.get("TERM") != "dumb"


def _width(stream: TextIO | None) -> int:
    """The columns of a terminal; 0 of anything else."""
    try:
        if stream is not None and stream.isatty():
            return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # it is closed
        pass
    return 0


def _draw_until(ended: threading.Event, line: _Line) -> None:
    line.draw()
    while not ended.wait(_SECONDS_BETWEEN):
        line.draw()


class _Line:
    """The line, and whether it is on the screen now."""

    def __init__(self, terminal: TextIO, text: Callable[[], str]) -> None:
        self._terminal = terminal
        self._text = text
        self._drawn = 0
        """characters of the line that are on the screen"""
        self._is_broken = False
        """whether the cursor stands behind text that has no line break yet"""
        self._has_ended = False
        self._lock = threading.RLock()

    def draw(self) -> None:
        """Draw the line as it is now, unless that would tear other text."""
        with self._held():
            if self._is_broken or self._has_ended or not _is_in_foreground(self._terminal):
                return
            text = self._text()[: max(0, _width(self._terminal) - 1)]
            rest = " " * (self._drawn - len(text))  # of a longer line before
            self._put(f"\r{text}{rest}" + "\b" * len(rest))
            self._drawn = len(text)

    def write_above(self, stream: TextIO, text: str) -> int:
        """Write text to a stream where the line stands, and draw the line again below it."""
        with self._held():
            self._hide()
            written = stream.write(text)
            stream.flush()
            if text:
                self._is_broken = not text.endswith("\n")
            self.draw()
        return written

    def end(self) -> None:
        """Remove the line for good."""
        with self._held():
            self._hide()
            self._has_ended = True

    def _hide(self) -> None:
        if self._drawn:
            blank = " " * self._drawn
            self._put(f"\r{blank}\r")
            self._drawn = 0

    def _put(self, text: str) -> None:
        try:
            self._terminal.write(text)
            self._terminal.flush()
        except (OSError, ValueError):  # the terminal is gone
            self._has_ended = True

    @contextmanager
    def _held(self) -> Iterator[None]:
        is_held = self._lock.acquire(timeout=_LONGEST_WAIT)
        try:
            yield
        finally:
            if is_held:
                self._lock.release()


def _is_in_foreground(terminal: TextIO) -> bool:
    """Whether the user's keys go to this program, and not to the shell that started it."""
    try:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # not the terminal that started it
        return True


class _Above:
    """A stream in whose place all text is written above the line."""

    def __init__(self, stream: TextIO, line: _Line) -> None:
        self._stream = stream
        self._line = line

    def write(self, text: str) -> int:
        """Write text above the line. Raises as the stream does."""
        return self._line.write_above(self._stream, text)

    def writelines(self, lines: list[str]) -> None:
        """Write all of them."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
