"""A comparison as text: Markdown, LaTeX (booktabs), or CSV with every number in full."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mpifl.analysis.files import csv_text
from mpifl.analysis.runs.comparison import Column, Comparison, Row

_ESCAPES = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
)


def markdown(table: Comparison) -> str:
    """A table for a README or an issue, its columns aligned in plain text too; the notes below it."""
    cells = [["method", "runs", *_heads(table, latex=False)]]
    cells += [
        [row.label.replace("|", "\\|"), str(row.runs), *_cells(table, row)] for row in table.rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(row, widths) for row in (cells[0], rule, *cells[1:])]
    return "\n".join([*lines, "", *(f"{note}  " for note in table.notes)]).rstrip() + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return (
        "| "
        + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])
        + " |"
    )


def latex(table: Comparison) -> str:
    """A tabular for a paper, which needs \\usepackage{booktabs}; the notes are comments."""
    heads = ["method", "runs", *_heads(table, latex=True)]
    lines = [f"% {note}" for note in table.notes]
    lines += [
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        lines.append(
            " & ".join([escaped(row.label), str(row.runs), *map(_in_latex, _cells(table, row))])
            + r" \\"
        )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escaped(text: str) -> str:
    """Text as LaTeX prints it.

    >>> print(escaped("50 % of a_b"))
    50 \\% of a\\_b
    """
    return text.translate(_ESCAPES)


def _in_latex(cell: str) -> str:
    words = {" ± ": r" $\pm$ ", "> ": "$>$ ", "−": "$-$", "–": "--"}
    for plain, tex in words.items():
        cell = cell.replace(plain, tex)
    return cell


def rows(table: Comparison) -> list[dict[str, str | int | float]]:
    """The rows in full: a column for each mean, deviation and count, and what is published; NaN
    where there is none.

    For a CSV file, or a pandas.DataFrame. Accuracies are in percent, times and bytes in the unit of
    the column's title.
    """
    made = []
    for row in table.rows:
        cells: dict[str, str | int | float] = {"method": row.label, "runs": row.runs}
        cells["seeds"] = " ".join(map(str, row.seeds))
        for column in table.columns:
            key, of = column.key, row.figures.get(column.key)
            cells |= {f"{key}_unit": column.title}
            cells |= {f"{key}_mean": of.mean, f"{key}_std": of.std, f"{key}_n": of.n} if of else {}
            if table.has_published(key):
                theirs = row.published.get(key)
                cells[f"{key}_published"] = theirs.value if theirs else math.nan
                cells[f"{key}_published_std"] = theirs.std if theirs else math.nan
                cells[f"{key}_difference"] = row.difference(key)
        made.append(cells)
    return made


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
            cells.append(_plus_minus(theirs.value, theirs.std, None) if theirs else "–")
            difference = row.difference(column.key)
            cells.append(_signed(difference, column.decimals) if math.isfinite(difference) else "–")
    return cells


def _ours(column: Column, row: Row) -> str:
    of = row.figures.get(column.key)
    if of is None or not of.n:
        return f"> {row.longest}" if column.key == "rounds_to_target" else "–"
    some = f" ({of.n} of {of.of})" if of.n < of.of else ""
    return _plus_minus(of.mean, of.std, column.decimals) + some


def _plus_minus(mean: float, std: float, decimals: int | None) -> str:
    if math.isnan(std):
        return number(mean, decimals)
    decimals = _decimals(mean) if decimals is None else decimals
    return f"{number(mean, decimals)} ± {number(std, decimals)}"


def number(value: float, decimals: int | None = None) -> str:
    """A number with so many decimals; without, with four significant digits and no needless zeros.

    >>> number(93.8721, 2), number(6240.3), number(0.984312), number(52.0)
    ('93.87', '6240', '0.9843', '52')
    """
    if decimals is not None:
        return f"{value:.{decimals}f}".replace("-", "−")
    text = f"{value:.{_decimals(value)}f}".replace("-", "−")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimals(value: float) -> int:
    return max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0


def _signed(value: float, decimals: int | None) -> str:
    return ("+" if value > 0 else "") + number(value, decimals)
