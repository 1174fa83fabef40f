"""A comparison as text: Markdown, LaTeX (booktabs), or CSV with every number in full."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mpifl.analysis.files import csv_text
from mpifl.analysis.runs.comparison import Column, Comparison, Published, Row

_ESCAPES = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
)

NOTHING = "–"
"""a cell without a number"""


def markdown(table: Comparison) -> str:
    """A table for a README or an issue, with the notes below.

    Its columns are aligned in plain text too.
    """
    return aligned(text_rows(table), table.notes)


def text_rows(table: Comparison) -> list[list[str]]:
    """The table as text: the heads of its columns, then a row for each method."""
    found = [["method", "runs", *_heads(table, latex=False)]]
    for row in table.rows:
        found.append([row.label, str(row.runs), *_cells(table, row)])
    return found


def aligned(rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A Markdown table, aligned in plain text too, of a first row of heads and the others."""
    cells = [[row[0].replace("|", "\\|"), *row[1:]] for row in rows]
    widths = []
    for column in zip(*cells, strict=True):
        widths.append(max(len(cell) for cell in column))
    rule = ["-" * widths[0]]
    for width in widths[1:]:
        rule.append("-" * (width - 1) + ":")
    lines = [_line(row, widths) for row in (cells[0], rule, *cells[1:])]
    return "\n".join([*lines, "", *(f"{note}  " for note in notes)]).rstrip() + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of the table: the first cell to the left, the others to the right."""
    padded = [cells[0].ljust(widths[0])]
    for cell, width in zip(cells[1:], widths[1:], strict=True):
        padded.append(cell.rjust(width))
    return f"| {' | '.join(padded)} |"


def latex(table: Comparison) -> str:
    """A tabular for a paper, which needs \\usepackage{booktabs}; the notes are comments."""
    heads = ["method", "runs", *_heads(table, latex=True)]
    cells = [[row.label, str(row.runs), *_cells(table, row)] for row in table.rows]
    return tabular(heads, cells, table.notes)


def tabular(heads: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A LaTeX tabular: `heads` are LaTeX already, the cells of `rows` are made so."""
    lines = [f"% {note}" for note in notes]
    lines += [
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for label, *cells in rows:
        lines.append(" & ".join([escaped(label), *(_in_latex(cell) for cell in cells)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escaped(text: str) -> str:
    """Text as LaTeX prints it.

    >>> print(escaped("50 % of a_b"))
    50 \\% of a\\_b
    """
    return text.translate(_ESCAPES)


def _in_latex(cell: str) -> str:
    words = {" ± ": r" $\pm$ ", "> ": "$>$ ", "−": "$-$", "–": "--", " *": "$^*$"}
    for plain, tex in words.items():
        cell = cell.replace(plain, tex)
    return cell


def rows(table: Comparison) -> list[dict[str, str | int | float]]:
    """The rows with all numbers in full, for CSV or a pandas.DataFrame.

    Each column of the table becomes columns for mean, deviation and count, and for the published
    number. NaN stands for nothing. Accuracies are in percent, times and bytes in the unit of the
    column's title.
    """
    return [_row(table, row) for row in table.rows]


def _row(table: Comparison, row: Row) -> dict[str, str | int | float]:
    cells: dict[str, str | int | float] = {
        "method": row.label,
        "runs": row.runs,
        "seeds": " ".join(str(seed) for seed in row.seeds),
    }
    for column in table.columns:
        key = column.key
        cells[f"{key}_unit"] = column.title
        ours = row.figures.get(key)
        if ours is not None:
            cells[f"{key}_mean"] = ours.mean
            cells[f"{key}_std"] = ours.std
            cells[f"{key}_n"] = ours.n
        if table.has_published(key):
            theirs = row.published.get(key, Published(math.nan, math.nan))
            cells[f"{key}_published"] = theirs.value
            cells[f"{key}_published_std"] = theirs.std
            cells[f"{key}_difference"] = row.difference(key)
    if row.departures:
        cells["not_the_published_experiment"] = "; ".join(row.departures)
    return cells


FORMATS = {"md": markdown, "tex": latex, "csv": lambda table: csv_text(rows(table))}
"""by the suffix of a file"""


def _heads(table: Comparison, *, latex: bool) -> list[str]:
    heads = []
    for column in table.columns:
        heads.append(column.latex if latex else column.title)
        heads += ["published", "difference"] if table.has_published(column.key) else []
    return heads


def _cells(table: Comparison, row: Row) -> list[str]:
    cells = []
    for column in table.columns:
        cells.append(_ours(column, row))
        if table.has_published(column.key):
            theirs = row.published.get(column.key)
            difference = row.difference(column.key)
            known = math.isfinite(difference)
            cells.append(_plus_minus(theirs.value, theirs.std, None) if theirs else NOTHING)
            cells.append(signed(difference, column.decimals) if known else NOTHING)
    return cells


def _ours(column: Column, row: Row) -> str:
    """Our number; `> 40` where no run reached the target in 40 rounds."""
    ours = row.figures.get(column.key)
    if ours is None or not ours.n:
        return f"> {row.longest}" if column.key == "rounds_to_target" else NOTHING
    count = f" ({ours.n} of {ours.of})" if ours.n < ours.of else ""
    return _plus_minus(ours.mean, ours.std, column.decimals) + count


def _plus_minus(mean: float, std: float, decimals: int | None) -> str:
    if math.isnan(std):
        return number(mean, decimals)
    if decimals is None:
        decimals = _decimals(mean)
    return f"{number(mean, decimals)} ± {number(std, decimals)}"


def number(value: float, decimals: int | None = None) -> str:
    """A number with `decimals`, or with four significant digits and no zeros at the end.

    >>> number(93.8721, 2), number(6240.3), number(0.984312), number(52.0)
    ('93.87', '6240', '0.9843', '52')
    """
    if decimals is not None:
        return f"{value:.{decimals}f}".replace("-", "−")
    text = f"{value:.{_decimals(value)}f}".replace("-", "−")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimals(value: float) -> int:
    """How many decimals make four significant digits."""
    if value == 0:
        return 0
    return max(0, 3 - math.floor(math.log10(abs(value))))


def signed(value: float, decimals: int | None = None) -> str:
    """A number with its sign, as of a difference.

    >>> signed(1.04, 2), signed(-0.3), signed(-0.001, 2)
    ('+1.04', '−0.3', '0.00')
    """
    text = number(value, decimals)
    if not text.strip("−0."):
        return text.removeprefix("−")
    return f"+{text}" if value > 0 else text
