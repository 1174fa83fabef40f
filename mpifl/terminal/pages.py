"""Paragraphs and tables, as wide as the terminal, printed in one piece."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO

from mpifl.terminal.output import encodable, is_terminal, print_exactly, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

_WIDTH = 100  # columns where there is no terminal
_LEAST_WIDTH = 40  # in a narrower terminal, tables would lose text


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
    coloured = colours and is_terminal(sys.stdout)
    yield Console(
        file=text,
        width=width(),
        force_terminal=coloured,
        color_system="auto" if coloured else None,
        markup=False,
        highlight=False,
    )
    print_exactly(text.getvalue().removesuffix("\n"))


class _Text(io.StringIO):
    """Text in memory with the encoding of a stream, on which the lines of tables depend."""

    encoding = None  # type: ignore[assignment]  # rich reads it

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.encoding = getattr(stream, "encoding", None)


def width() -> int:
    """The columns of the terminal, or of a page where there is none."""
    return max(_LEAST_WIDTH, shutil.get_terminal_size((_WIDTH, 0)).columns)


def styled(text: str, style: str = "") -> Text:
    """Text for a `page`, in a style of rich's such as bold, where there are colours."""
    from rich.text import Text

    # Fitted to the encoding before a table is laid out: the columns stay aligned.
    encoding = getattr(sys.stdout, "encoding", None)
    return Text(encodable(printable(text), encoding), style)


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
