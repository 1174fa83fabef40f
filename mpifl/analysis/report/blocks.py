"""The parts of a report as HTML: charts, tables, facts, and text that folds away.

All text is escaped: a name in a run's files cannot become part of the page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from mpifl.analysis.figures.plotly_page import legend
from mpifl.analysis.figures.plotly_theme import Figure
from mpifl.terminal import printable

NOTHING = "–"
"""a cell where there is nothing to tell"""
_LONG = 100
"""characters of a cell from which it is long"""
_MOST_COLUMNS = 8
"""of a table of words that fits onto paper"""


@dataclass
class Section:
    """One section of the report: its heading, and its parts in HTML. Without parts it is left
    out.
    """

    anchor: str
    title: str
    parts: list[str] = field(default_factory=list)

    def html(self) -> str:
        """The section; its heading takes the focus when a link leads to it."""
        heading = f'<h2 id="{self.anchor}" tabindex="-1">{text(self.title)}</h2>'
        return f'<section aria-labelledby="{self.anchor}">{heading}{"".join(self.parts)}</section>'


def text(words: str) -> str:
    """Text in HTML, its control characters escaped too."""
    return escape(printable(words))


def paragraph(words: str) -> str:
    """A paragraph of text."""
    return f"<p>{text(words)}</p>"


def small(words: str) -> str:
    """A line of small text; nothing for no text."""
    return f'<p class="small">{text(words)}</p>' if words else ""


def notes(lines: Iterable[str]) -> str:
    """Small lines below a table."""
    found = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<ul class="notes">{found}</ul>' if found else ""


def groups_legend(labels: Sequence[str]) -> str:
    """The names of the groups: buttons that hide and show a group in all figures."""
    if len(labels) == 1:
        return ""
    return legend([printable(label) for label in labels])


def colour_key(kinds: Sequence[tuple[str, str]]) -> str:
    """What colours mean, words and colour of each, for figures whose colours are no groups."""
    items = []
    for words, colour in kinds:
        square = '<svg width="14" height="14" aria-hidden="true"><rect width="14" height="14" '
        items.append(f'<li>{square}fill="{colour}"/></svg> {text(words)}</li>')
    return f'<ul class="key">{"".join(items)}</ul>'


def chart(figure: Figure, title: str, caption: str) -> str:
    """A figure with its title above, and below a sentence that says what to read from it."""
    layout = {**figure["layout"]}
    layout.pop("title", None)
    layout["margin"] = {**layout["margin"], "t": 28}
    drawn = {"data": figure["data"], "layout": layout}
    kind = "plane"
    focus = ""
    if "scene" in layout:
        kind = "solid"
        focus = ' tabindex="0"'
    elif any(trace["type"] == "heatmap" for trace in figure["data"]):
        kind = "map"
    elif layout.get("showlegend"):
        kind = "tall"
    height = f' style="height:{layout["height"]}px"' if "height" in layout else ""
    name = escape(printable(f"{title}. {caption}"), quote=True)
    return (
        f'<figure class="{kind}"><h3>{text(title)}</h3>'
        f'<div class="plot" role="img" aria-label="{name}"{focus}{height}></div>'
        f'<script type="application/json">{_json(drawn)}</script>'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def charts(made: Sequence[str], across: int = 2) -> str:
    """Charts side by side, at most `across` (2 or 3) and as many as the screen has room for."""
    kind = "figures three" if across == 3 else "figures"
    return f'<div class="{kind}">{"".join(made)}</div>' if made else ""


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, is_listed: bool = False
) -> str:
    """A table that scrolls by itself where it is too wide; the first cell of a row is its head.

    Cells know the head of their column if the rows may be lists (`is_listed`).
    """
    head = "".join(f'<th scope="col">{_breakable(cell)}</th>' for cell in heads)
    body = []
    for first, *others in rows:
        cells = ""
        for cell, column in zip(others, heads[1:], strict=True):
            cells += _cell(cell, column if is_listed else "")
        body.append(f'<tr><th scope="row">{text(first)}</th>{cells}</tr>')
    name = escape(printable(caption), quote=True)
    return (
        f"{small(caption)}"
        f'<div class="table" role="region" tabindex="0" aria-label="{name}">'
        f'<table aria-label="{name}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(words: str, head: str) -> str:
    """A cell of a table; on paper a long one is given more room, and one in a list has its head."""
    marks = f' data-head="{escape(printable(head), quote=True)}"' if head else ""
    if len(words) > _LONG:
        marks += ' class="long"'
    elif words == NOTHING:
        marks += ' class="nothing"'
    return f"<td{marks}>{text(words)}</td>"


def _breakable(option: str) -> str:
    """The dotted name of an option, which may go on in a new line after each dot, on paper."""
    return text(option).replace(".", ".<wbr>")


def words_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table of words rather than of numbers: its cells are aligned at the left.

    On paper the rows of one that is too wide are lists.
    """
    is_wide = len(heads) > _MOST_COLUMNS
    of_class = "words wide" if is_wide else "words"
    return f'<div class="{of_class}">{table(heads, rows, caption, is_wide)}</div>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they are."""
    items = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows)
    return f"<dl>{items}</dl>"


def folded(title: str, inner: str) -> str:
    """HTML that is shown when its title is clicked."""
    return f"<details><summary>{text(title)}</summary>{inner}</details>"


def verbatim(words: str) -> str:
    """Text as it stands, such as a config or a command."""
    return f'<pre tabindex="0">{text(words)}</pre>'


def _json(figure: Figure) -> str:
    """A figure for a script element, which no text inside can close; null for no number."""
    compact = (",", ":")
    try:
        written = json.dumps(figure, separators=compact, allow_nan=False, ensure_ascii=False)
    except ValueError:  # a loss that is not finite, such as far from a model
        finite = _with_gaps(figure)
        written = json.dumps(finite, separators=compact, allow_nan=False, ensure_ascii=False)
    return written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _with_gaps(value: Any) -> Any:
    """The same with None for each number that is not finite."""
    if isinstance(value, dict):
        return {key: _with_gaps(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_gaps(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
