"""A paired table as text: Markdown, LaTeX (booktabs), or CSV with every number in full."""

from __future__ import annotations

import math

from mpifl.analysis.files import csv_text
from mpifl.analysis.runs.comparison import Column
from mpifl.analysis.runs.differences import Difference, PairedRow
from mpifl.analysis.runs.paired import PairedTable
from mpifl.analysis.runs.table_formats import NOTHING, aligned, number, signed, tabular


def markdown(table: PairedTable) -> str:
    """A table with the notes below, aligned in plain text too."""
    return aligned(text_rows(table), table.notes)


def text_rows(table: PairedTable) -> list[list[str]]:
    """The table as text: the heads of its columns, the baseline, then a row for each method."""
    heads = ["method", "seeds", *(column.title for column in table.columns)]
    return [heads, *_cells(table)]


def latex(table: PairedTable) -> str:
    """A tabular for a paper, which needs \\usepackage{booktabs}; the notes are comments."""
    heads = ["method", "seeds", *(column.latex for column in table.columns)]
    return tabular(heads, _cells(table), table.notes)


def rows(table: PairedTable) -> list[dict[str, str | int | float]]:
    """The differences with all numbers in full, for CSV: a row for each method and column.

    NaN stands for nothing. Accuracies are in percent points.
    """
    found = []
    for row in table.rows:
        for column in table.columns:
            if column.key in row.differences:
                found.append(_row(table, row, column))
    return found


def _row(table: PairedTable, row: PairedRow, column: Column) -> dict[str, str | int | float]:
    difference = row.differences[column.key]
    return {
        "method": row.label,
        "baseline": table.baseline,
        "quantity": column.key,
        "unit": column.title,
        "baseline_mean": table.baseline_means[column.key],
        "difference": difference.mean,
        "low": difference.mean - difference.half_width,
        "high": difference.mean + difference.half_width,
        "seeds": " ".join(str(seed) for seed in row.seeds),
        "pairs": difference.pairs,
        "p": difference.p,
        "p_holm": difference.p_holm,
        "p_sign_flip": difference.p_sign_flip,
        "significant": int(difference.has_star),
        "seeds_to_tell": difference.seeds_to_tell or math.nan,
        "half_width_unpaired": difference.unpaired_half_width,
    }


FORMATS = {"md": markdown, "tex": latex, "csv": lambda table: csv_text(rows(table))}
"""by the suffix of a file"""


def _cells(table: PairedTable) -> list[list[str]]:
    """The baseline's means, then a row of differences for each method."""
    first = [table.baseline, str(len(table.baseline_seeds))]
    for column in table.columns:
        mean = table.baseline_means[column.key]
        first.append(NOTHING if math.isnan(mean) else number(mean, column.decimals))
    cells = [first]
    for row in table.rows:
        line = [row.label, str(len(row.seeds))]
        for column in table.columns:
            found = row.differences.get(column.key)
            line.append(_cell(found, column, len(row.seeds)) if found else NOTHING)
        cells.append(line)
    return cells


def _cell(difference: Difference, column: Column, seeds: int) -> str:
    """Such as `+1.04 ± 0.44`, with a star where it is significant; (2 of 3): pairs that have it."""
    text = signed(difference.mean, column.decimals)
    if not math.isnan(difference.half_width):
        text += f" ± {number(difference.half_width, column.decimals)}"
    if difference.has_star:
        text += " *"
    if difference.pairs < seeds:
        text += f" ({difference.pairs} of {seeds})"
    return text
