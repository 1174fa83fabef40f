"""A screen of the terminal that is drawn again and again, and the keys that are typed meanwhile."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_LEAST_COLUMNS = 20
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def is_possible() -> bool:
    """Whether stdout is a terminal that can be drawn on.

    Open MPI's mpirun gives ranks a terminal of no width, which cannot.
    """
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    return os.get_terminal_size(sys.stdout.fileno()).columns >= _LEAST_COLUMNS


class Screen:
    """The terminal's second screen, while it is ours; `screen` opens it."""

    def __init__(self, live: Live, resized: int) -> None:
        self._live = live
        self._resized = resized
        self._keys = sys.stdin.fileno() if _has_keys() else None

    @property
    def console(self) -> Console:
        return self._live.console

    def draw(self, parts: list[RenderableType], last_line: RenderableType) -> None:
        """Show `parts` from the top, and a line at the bottom, in place of what is there.

        Every line is written over its predecessor and nothing is cleared, so nothing flickers.
        """
        from rich.console import Group
        from rich.layout import Layout

        layout = Layout()
        layout.split_column(Layout(Group(*parts), name="top"), Layout(last_line, size=1))
        self._live.update(layout, refresh=True)

    def wait(self, seconds: float) -> str:
        """Wait for a key, at most so long; "" if there was none, or the terminal got another size.

        Raises KeyboardInterrupt for Ctrl-C.
        """
        watched = [self._resized]
        if self._keys is not None:
            watched.append(self._keys)
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._resized in ready:
            os.read(self._resized, 1000)
        if self._keys in ready:
            key = os.read(sys.stdin.fileno(), 1).decode(errors="replace")
            if not key:  # the terminal is gone
                self._keys = None
            return key
        return ""


@contextmanager
def screen() -> Iterator[Screen]:
    """Draw on the terminal's second screen; afterwards the first is as it was.

    Keys arrive without Enter and are not echoed. SIGTERM and SIGHUP leave it in order too.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(markup=False, highlight=False)
    with (
        _resize_pipe() as resized,
        _ended_in_order(),
        _keys_at_once(),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        yield Screen(live, resized)


def _has_keys() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Keys are given to the program at once, and not echoed; Ctrl-C stays a signal."""
    if not _has_keys():
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextmanager
def _resize_pipe() -> Iterator[int]:
    """A file to read from once the terminal has got another size."""
    resized, tell = os.pipe()
    os.set_blocking(tell, False)

    def on_resize(number: int, frame: FrameType | None) -> None:
        with suppress(BlockingIOError):  # it was told, and has not been heard yet
            os.write(tell, b"x")

    before = signal.signal(signal.SIGWINCH, on_resize)
    try:
        yield resized
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(resized)
        os.close(tell)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program by an exception, so that the terminal is restored."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, on_signal) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
