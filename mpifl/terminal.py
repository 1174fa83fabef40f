"""How reports look in a terminal and in a pipe: tables under titles, bytes and seconds for people."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from typing import TextIO

import click
from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH = 100  # columns where there is no terminal


def console_for(stream: TextIO) -> Console:
    """A console as wide as the terminal, or of a fixed width where there is none; plain text, never
    escape codes.

    Open MPI's mpirun gives its ranks a terminal of no width, so whether there is one says nothing
    of where output goes.
    """
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    return Console(file=stream, width=width, color_system=None, markup=False, highlight=False)


def say(line: str, error: bool = False) -> None:
    """Print a line; where nobody reads any more (`mpifl run ... | head`, a log on a full disk), go
    on without.
    """
    try:
        click.echo(line, err=error)
    except OSError:
        nowhere = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
        sys.stdout, sys.stderr = (sys.stdout, nowhere) if error else (nowhere, sys.stderr)


class _Page(io.StringIO):
    """Text for a stream, of its encoding: what to draw lines with depends on it."""

    encoding = None

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.encoding = getattr(stream, "encoding", None)


def say_table(title: str, made: Table) -> None:
    """Print a table under its title as `say` prints a line."""
    page = _Page(sys.stdout)
    show(console_for(page), title, made)
    say(page.getvalue().removesuffix("\n"))


def table(*columns: str, texts: int = 1) -> Table:
    """An empty table with these column names: the first `texts` hold text, the others numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i < texts else "right", overflow="fold")
    return made


def facts() -> Table:
    """An empty table of names and what they are."""
    made = Table.grid(padding=(0, 2))
    made.add_column(overflow="fold")
    made.add_column(overflow="fold")
    return made


def show(console: Console, title: str, made: Table) -> None:
    """Print a table under its title."""
    console.print(title)
    console.print(made)
    if made.box is None:
        console.print()


def size(number: float) -> str:
    """Bytes for people.

    >>> size(999), size(2_457_808), size(3.2e9)
    ('999 B', '2.5 MB', '3.2 GB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 999.5 or unit == "TB":
            return (
                f"{number:.0f} {unit}" if unit == "B" or number >= 99.5 else f"{number:.1f} {unit}"
            )
        number /= 1000
    raise AssertionError


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
