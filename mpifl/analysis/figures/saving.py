"""Panels as files: a picture, a page, or the numbers, by the file's suffix.

Only the library that draws a file is imported: numbers need none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import PICTURES, Band, Panel, points
from mpifl.analysis.files import csv_text, write

KINDS = (*PICTURES, "html", "csv")
"""suffixes of files"""


def save(
    path: Path,
    panels: Sequence[Panel | HeatMap],
    title: str = "",
    band: Band = "std",
    across: int = 3,
) -> None:
    """Write panels and maps as the path's suffix says, one of KINDS; pictures have
    `across` of them in a row.

    Raises OSError.
    """
    kind = path.suffix.removeprefix(".")
    if kind == "html":
        from mpifl.analysis.figures.plotly_page import page

        write(path, page(panels, title or path.stem, band).encode())
    elif kind == "csv":
        write(path, csv_text(list(points(panels))).encode())
    else:
        from mpifl.analysis.figures.matplotlib_figures import figure, rendered

        write(path, rendered(figure(panels, across, band), kind))


def save_cosines(
    path: Path,
    groups: Mapping[str, Sequence[dict[str, np.ndarray]]],
    seeds: Mapping[str, Sequence[int]],
) -> None:
    """Write a picture of the cosines between clients' updates, as `drift` returns them.

    It shows each group's first run, at its last round. The titles name the round and the run's
    seed, from the `seeds` of each group's runs.
    """
    from mpifl.analysis.figures.matplotlib_figures import matrices, rendered

    labels: list[str] = []
    ids: list[list[int]] = []
    squares: list[np.ndarray] = []
    for label, runs in groups.items():
        run = runs[0]
        clients = run["client"][-1]
        present = clients >= 0
        labels.append(f"{label}\nseed {seeds[label][0]}, round {run['round'][-1]}")
        ids.append(clients[present].tolist())
        squares.append(run["cosine_whole"][-1][np.ix_(present, present)])
    picture = matrices(labels, ids, squares, "cosine of clients' updates")
    write(path, rendered(picture, path.suffix.removeprefix(".")))
