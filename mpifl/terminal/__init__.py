"""The one way in which commands print: lines, paragraphs, tables and progress bars.

`output.py` prints lines, `pages.py` paragraphs and tables, `progress.py` bars; `numbers.py` writes
numbers as people read them.
"""

from mpifl.terminal.numbers import (
    average,
    average_of,
    duration,
    operations,
    percent,
    plural,
    short_time,
    size,
)
from mpifl.terminal.output import output_failure, printable, say, say_exactly
from mpifl.terminal.pages import Table, facts, page, say_paragraph, say_table, styled, table
from mpifl.terminal.progress import progress_bar

__all__ = [
    "Table",
    "average",
    "average_of",
    "duration",
    "facts",
    "operations",
    "output_failure",
    "page",
    "percent",
    "plural",
    "printable",
    "progress_bar",
    "say",
    "say_exactly",
    "say_paragraph",
    "say_table",
    "short_time",
    "size",
    "styled",
    "table",
]
