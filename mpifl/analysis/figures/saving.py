"""Panels as files: pictures, a page to hover over, or the numbers, by the file's suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mpifl.analysis.figures.matplotlib_figures import FORMATS, figure, matrices, rendered
from mpifl.analysis.figures.panels import Band, Panel, points
from mpifl.analysis.figures.plotly_page import page
from mpifl.analysis.files import csv_text, write

KINDS = (*FORMATS, "html", "csv")
"""suffixes of files"""


def save(
    path: Path, panels: Sequence[Panel], title: str = "", band: Band = "std", across: int = 3
) -> None:
    """Write panels in the form of the path's suffix, of KINDS; pictures with `across` in a row.
    Raises OSError.
    """
    kind = path.suffix.removeprefix(".")
    if kind == "html":
        write(path, page(panels, title or path.stem, band).encode())
    elif kind == "csv":
        write(path, csv_text(list(points(panels))).encode())
    else:
        write(path, rendered(figure(panels, across, band), kind))


def save_cosines(path: Path, groups: dict[str, Sequence[dict[str, np.ndarray]]]) -> None:
    """Write the cosines between clients' updates, of what `drift` gives: each group's first run, at
    its last round.
    """
    first = [runs[0] for runs in groups.values()]
    there = [run["client"][-1] >= 0 for run in first]
    ids = [run["client"][-1][known].tolist() for run, known in zip(first, there, strict=True)]
    squares = [
        run["cosine_whole"][-1][np.ix_(known, known)]
        for run, known in zip(first, there, strict=True)
    ]
    labels = [
        f"{label}\nround {run['round'][-1]}" for label, run in zip(groups, first, strict=True)
    ]
    write(
        path,
        rendered(
            matrices(labels, ids, squares, "cosine of updates"), path.suffix.removeprefix(".")
        ),
    )
