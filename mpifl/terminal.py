"""The one way in which commands print: lines, paragraphs and tables, in a terminal or a pipe."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH = 100  # columns where there is no terminal


def say(line: str, error: bool = False) -> None:
    """Print a line to stdout, or to stderr with `error`. It never fails.

    Where it cannot be written (`mpifl run ... | head`, a log on a full disk), this line and all
    later ones are dropped, and the command continues. `output_failure` says why.
    """
    try:
        click.echo(line, err=error)
    except OSError as failure:
        if error:
            sys.stderr = _Nowhere(failure)
        else:
            sys.stdout = _Nowhere(failure)


def output_failure() -> OSError | None:
    """Why lines that `say` printed to stdout were dropped; None if none were."""
    return getattr(sys.stdout, "failure", None)


def say_paragraph(text: str) -> None:
    """Print text in lines as long as the terminal is wide."""
    with page() as console:
        console.print(text)


def say_table(title: str, made: Table) -> None:
    """Print a table under its title."""
    with page() as console:
        console.print(title)
        console.print(made)
        if made.box is None:
            console.print()


@contextmanager
def page(colours: bool = False) -> Iterator[Console]:
    """Give a console whose text is printed in one piece, as `say` does.

    It is as wide as the terminal, or 100 columns where there is none. Text is plain, unless
    `colours` are asked for and stdout is a terminal. (Open MPI's mpirun gives every rank a terminal
    of no width: whether there is one does not say where output goes.)
    """
    from rich.console import Console

    text = _Text(sys.stdout)
    coloured = colours and sys.stdout is not None and sys.stdout.isatty()
    yield Console(
        file=text,
        width=shutil.get_terminal_size((_WIDTH, 0)).columns,
        force_terminal=coloured,
        color_system="auto" if coloured else None,
        markup=False,
        highlight=False,
    )
    say(text.getvalue().removesuffix("\n"))


class _Text(io.StringIO):
    """Text in memory with the encoding of a stream, on which the lines of tables depend."""

    encoding = None  # type: ignore[assignment]  # rich reads it

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.encoding = getattr(stream, "encoding", None)


class _Nowhere(io.TextIOWrapper):
    """A stream that drops everything, in the place of one that failed."""

    def __init__(self, failure: OSError) -> None:
        super().__init__(open(os.devnull, "wb"))  # noqa: SIM115 - for the rest of the process
        self.failure = failure


def table(*columns: str, texts: int = 1) -> Table:
    """An empty table with these columns: the first `texts` hold text, the others numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i < texts else "right", overflow="fold")
    return made


def facts() -> Table:
    """An empty table of names and their values."""
    from rich.table import Table

    made = Table.grid(padding=(0, 2))
    made.add_column(overflow="fold")
    made.add_column(overflow="fold")
    return made


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "rank"), plural(1200, "rank")
    ('1 rank', '1,200 ranks')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


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
