"""The one way in which commands print: lines, paragraphs, tables and progress bars.

Printing never fails. Characters that the stream's encoding lacks are written in others, and control
characters are escaped: no name in a stored file can control a terminal.
"""

from __future__ import annotations

import codecs
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

_WIDTH = 100  # columns where there is no terminal
_LEAST_WIDTH = 40  # in a narrower terminal, tables would lose text
_BAR_WIDTH = 20
_SECONDS_BETWEEN_BARS = 0.1
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_UNTIL_ESTIMATE = 2.0

_IN_ASCII = {
    "±": "+/-",
    "−": "-",
    "–": "-",
    "×": "x",
    "→": "->",
    "…": "...",
    "‖": "||",
    "λ": "lambda",
}


def say(text: str, error: bool = False) -> None:
    """Print text and a line break to stdout, or to stderr with `error`. It never fails.

    Where it cannot be written (`mpifl run ... | head`, a log on a full disk), this text and all
    later ones are dropped, and the command continues. `output_failure` says why.
    """
    _say(printable(text), error)


def say_exactly(text: str) -> None:
    """Print text to stdout as UTF-8, to the byte; in a terminal as `say` does. It never fails."""
    stream = sys.stdout
    if _is_terminal(stream) or not hasattr(stream, "buffer"):
        say(text)
        return
    try:
        stream.flush()
        stream.buffer.write(text.encode())
        stream.flush()
    except OSError as failure:
        sys.stdout = _Nowhere(failure.with_traceback(None))


def _say(text: str, error: bool = False) -> None:
    """Print text as it is, with its control characters."""
    if _bar is not None:
        _bar.hide()
    failure = _write(sys.stderr if error else sys.stdout, f"{text}\n")
    if failure is None:
        return
    if error:
        sys.stderr = _Nowhere(failure)
    else:
        sys.stdout = _Nowhere(failure)


def _write(stream: TextIO | None, text: str) -> OSError | None:
    """Write text, if the stream is open. Returns why it could not be written, if it could not."""
    if stream is None or stream.closed:
        return None
    try:
        stream.write(_encodable(text, stream.encoding))
        stream.flush()
    except OSError as failure:
        return failure.with_traceback(None)  # which would keep the stream alive
    return None


class _Nowhere(io.TextIOWrapper):
    """A stream that drops everything, in the place of one that failed."""

    def __init__(self, failure: OSError) -> None:
        super().__init__(open(os.devnull, "wb"))  # noqa: SIM115 - for the rest of the process
        self.failure = failure


def output_failure() -> OSError | None:
    """Why lines that `say` printed to stdout were dropped; None if none were."""
    return getattr(sys.stdout, "failure", None)


# --- characters ---------------------------------------------------------------------------------


def printable(text: str, kept: str = "\n\t") -> str:
    r"""Text with its control characters escaped, except those `kept`.

    >>> printable(chr(27) + "[31m") == r"\x1b[31m"
    True
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


def _encodable(text: str, encoding: str | None) -> str:
    """Text in which characters that the encoding lacks are replaced, such as ± by +/-."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, _REPLACE).decode(encoding)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """An error handler for codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(character, "?") for character in missing), error.end


_REPLACE = "mpifl.replace"
codecs.register_error(_REPLACE, _replace)


# --- pages --------------------------------------------------------------------------------------


def say_paragraph(text: str) -> None:
    """Print text in lines as long as the terminal is wide."""
    with page() as console:
        console.print(styled(text))


def say_table(title: str, made: Table) -> None:
    """Print a table under its title."""
    with page() as console:
        console.print(styled(title))
        console.print(made)
        if not made.has_head:
            console.print()


@contextmanager
def page(colours: bool = False) -> Iterator[Console]:
    """Give a console whose text is printed in one piece, as `say` does.

    It is as wide as the terminal, or 100 columns where there is none. Text is plain, unless
    `colours` are asked for and stdout is a terminal. (Open MPI's mpirun gives every rank a terminal
    of no width: whether there is one does not say where output goes.)

    Print on it what `styled`, `table` and `facts` make: they escape control characters.
    """
    from rich.console import Console

    text = _Text(sys.stdout)
    coloured = colours and _is_terminal(sys.stdout)
    yield Console(
        file=text,
        width=_width(),
        force_terminal=coloured,
        color_system="auto" if coloured else None,
        markup=False,
        highlight=False,
    )
    _say(text.getvalue().removesuffix("\n"))


class _Text(io.StringIO):
    """Text in memory with the encoding of a stream, on which the lines of tables depend."""

    encoding = None  # type: ignore[assignment]  # rich reads it

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.encoding = getattr(stream, "encoding", None)


def _width() -> int:
    """The columns of the terminal, or of a page where there is none."""
    return max(_LEAST_WIDTH, shutil.get_terminal_size((_WIDTH, 0)).columns)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def styled(text: str, style: str = "") -> Text:
    """Text for a `page`, in a style of rich's such as bold, where there are colours."""
    from rich.text import Text

    # Fitted to the encoding before a table is laid out: the columns stay aligned.
    encoding = getattr(sys.stdout, "encoding", None)
    return Text(_encodable(printable(text), encoding), style)


class Table:
    """Rows of text: under a head, or without one."""

    def __init__(self, columns: Sequence[str], texts: int, has_head: bool) -> None:
        """The first `texts` columns hold text, the others numbers."""
        self._columns = columns
        self._texts = texts
        self.has_head = has_head
        self._rows: list[Sequence[str]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row; cells may be missing at its end."""
        self._rows.append(cells)

    def __rich__(self) -> RichTable:
        """What rich prints."""
        from rich import box
        from rich.table import Table as RichTable

        if self.has_head:
            made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        else:
            made = RichTable.grid(padding=(0, 2))
        for number, column in enumerate(self._columns):
            justify: Literal["left", "right"] = "left" if number < self._texts else "right"
            made.add_column(styled(column), justify=justify, overflow="fold")
        for row in self._rows:
            made.add_row(*(styled(cell) for cell in row))
        if not self.has_head:
            made.columns[0].style = "cyan"
        return made


def table(*columns: str, texts: int = 1) -> Table:
    """An empty table with these columns: the first `texts` hold text, the others numbers."""
    return Table(columns, texts, has_head=True)


def facts() -> Table:
    """An empty table of names and their values."""
    return Table(["", ""], texts=2, has_head=False)


# --- progress -----------------------------------------------------------------------------------


@contextmanager
def progress_bar(
    label: str, total: int, shown: bool = True, in_logs: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr, if `shown` and if that is a terminal, until the end of the block.

    With `in_logs`, print a line every ten seconds where stderr is no terminal. Gives a function
    that adds to what is done. `say` may be called inside.
    """
    global _bar
    if shown and in_logs and not _is_terminal(sys.stderr):
        yield _ProgressLines(label, total).advance
        return
    if not shown or not _is_terminal(sys.stderr):
        yield lambda done: None
        return
    _bar = _Bar(printable(label), total)
    try:
        yield _bar.advance
    finally:
        _bar.hide()
        _bar = None


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
        self._drawn = f"{text}, {self._label}"[: _width() - 1]
        _write(sys.stderr, self._drawn)

    def hide(self) -> None:
        """Clear the line, until the bar is drawn again."""
        if self._drawn:
            blank = " " * len(self._drawn)
            _write(sys.stderr, f"\r{blank}\r")
        self._drawn = ""


_bar: _Bar | None = None


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


# --- numbers ------------------------------------------------------------------------------------


def percent(share: float) -> str:
    """A share, such as an accuracy, for people.

    >>> percent(0.97214)
    '97.21 %'
    """
    return f"{100 * share:.2f} %"


def plural(count: int, noun: str, many: str = "") -> str:
    """A count with its noun; `many` is its plural, if it is not the noun and an s.

    >>> plural(1, "rank"), plural(1200, "rank"), plural(2, "reply", "replies")
    ('1 rank', '1,200 ranks', '2 replies')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {many or noun + 's'}"


def size(number: float) -> str:
    """Bytes for people.

    >>> size(999), size(2_457_808), size(3.2e9)
    ('999 B', '2.5 MB', '3.2 GB')
    """
    units = ["B", "kB", "MB", "GB", "TB"]
    unit = units.pop(0)
    while number >= 999.5 and units:
        number /= 1000
        unit = units.pop(0)
    if unit == "B" or number >= 99.5:
        return f"{number:.0f} {unit}"
    return f"{number:.1f} {unit}"


def operations(number: float) -> str:
    """Floating-point operations for people.

    >>> operations(3.83e6), operations(361e6), operations(2.6e14)
    ('3.83 MFLOP', '361 MFLOP', '260 TFLOP')
    """
    units = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"]
    unit = units.pop(0)
    while number >= 999.5 and units:
        number /= 1000
        unit = units.pop(0)
    return f"{number:.3g} {unit}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(4.2), duration(75), duration(3 * 3600 + 62)
    ('4 s', '1:15', '3:01:02')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    form = "%H:%M:%S" if seconds >= 3600 else "%M:%S"
    days = f"{int(seconds // 86400)} d " if seconds >= 86400 else ""
    return days + time.strftime(form, time.gmtime(seconds)).lstrip("0")
