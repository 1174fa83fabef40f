"""Pictures of a partition: how many samples of each class each client trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.runs.groups import Group
from mpifl.terminal import percent

_MOST_CELLS = 200_000
"""a larger partition is drawn by the mean of neighbouring clients"""


def partition_pictures(groups: Sequence[Group]) -> list[HeatMap]:
    """Of each group's first run, how many samples of each class each client trains on.

    Groups with the same partition have one map.
    """
    found: list[tuple[np.ndarray, list[str]]] = []
    for group in groups:
        run = group.runs[0]
        name = f"{group.label}, seed {run.seed}"
        same = [names for counts, names in found if np.array_equal(counts, run.label_counts)]
        if same:
            same[0].append(name)
        else:
            found.append((run.label_counts, [name]))
    maps: list[HeatMap] = []
    for counts, names in found:
        rest = f", and {len(names) - 1} more" if len(names) > 1 else ""
        maps.append(partition_map(counts, f"{names[0]}{rest}"))
    return maps


def partition_map(
    counts: np.ndarray, title: str = "partition", most_cells: int = _MOST_CELLS
) -> HeatMap:
    """How many samples of each class each client has, from counts [C, K].

    With more than `most_cells`, a row is the mean of neighbours in the order of their numbers.
    """
    rows, firsts = _rows(counts, most_cells)
    together = int(firsts[1]) if len(firsts) > 1 and firsts[1] > 1 else 1
    texts = []
    for first, row in zip(firsts, rows, strict=True):
        texts.append([_cell(int(first), together, label, row) for label in range(len(row))])
    return HeatMap(
        title,
        "class",
        "client",
        "training samples",
        np.arange(rows.shape[1]),
        firsts,
        rows.astype("f8"),
        (0.0, max(1.0, float(rows.max(initial=0)))),
        texts,
    )


def _rows(counts: np.ndarray, most_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts [r, K], of as many rows as can be drawn, and the first client [r] of each."""
    clients, classes = counts.shape
    most = max(1, most_cells // classes)
    together = -(-clients // most)
    if together == 1:
        return counts, np.arange(clients)
    firsts = np.arange(0, clients, together)
    sizes = np.diff([*firsts, clients])
    return np.add.reduceat(counts, firsts, axis=0) / sizes[:, None], firsts


def _cell(client: int, together: int, label: int, row: np.ndarray) -> str:
    """What is read at a client's class: the count, and its share of the client's samples."""
    who = f"client {client}" if together == 1 else f"clients {client} to {client + together - 1}"
    share = percent(row[label] / max(row.sum(), 1))
    return f"<b>{who}</b><br>class {label}: {row[label]:,.4g} samples<br>{share} of its samples"
