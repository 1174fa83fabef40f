"""Figures of a single run, for pages: who has which classes, how clients fare, where time goes.

A figure is a dict of its data and its layout, in the theme of `figures/plotly_figures.py`;
`figures/plotly_page.py` makes a page of several.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpifl.analysis.figures.panels import COLOURS
from mpifl.analysis.figures.plotly_figures import THEME, Figure, axis, numbers, title_of, written
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.terminal import percent

_MOST_CELLS = 200_000
"""a larger partition is drawn by the mean of neighbouring clients"""


def partition_figure(run: Run) -> Figure:
    """How many samples of each class each client has: a heat map of clients by classes.

    With very many clients, a row is the mean of neighbours in the order of their numbers.
    """
    counts, firsts = _rows(run.label_counts)
    together = int(firsts[1]) if len(firsts) > 1 and firsts[1] > 1 else 1
    texts = []
    for first, row in zip(firsts, counts, strict=True):
        texts.append([_cell(int(first), together, label, row) for label in range(len(row))])
    heat = {
        "type": "heatmap",
        "x": list(range(counts.shape[1])),
        "y": firsts.tolist(),
        "z": counts.tolist(),
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorscale": "Viridis",
        "zmin": 0,
        "colorbar": {"title": {"text": "samples", "side": "right"}, "thickness": 10, "nticks": 6},
    }
    layout = {
        **THEME,
        "title": title_of("partition"),
        "xaxis": axis("class", **_whole(counts.shape[1]), showgrid=False),
        "yaxis": axis("client", **_whole(len(run.label_counts)), showgrid=False),
    }
    return {"data": [heat], "layout": layout}


def _rows(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts [r, K], of as many rows as can be drawn, and the first client [r] of each."""
    clients, classes = counts.shape
    most = max(1, _MOST_CELLS // classes)
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
    return f"<b>{who}</b><br>class {label}: {written(row[label])} samples<br>{share} of its samples"


def _whole(count: int) -> dict[str, Any]:
    """Ticks of an axis at whole numbers."""
    return {"dtick": 1} if count <= 12 else {"tickformat": "d"}


def client_accuracy_figure(run: Run) -> Figure:
    """Each client's latest accuracy, from the lowest to the highest.

    It is the accuracy of the client's own model on the test set where the run has it, else that on
    the client's training batches, both from the last round in which the client took part. Raises
    BadInput for a run in which no client has reported any.
    """
    name = "test_accuracy" if "test_accuracy" in run.clients else "accuracy"
    what = {
        "test_accuracy": "test accuracy of each client's model",
        "accuracy": "each client's accuracy on its training batches",
    }[name]
    latest = _latest(run, name)
    if not latest:
        raise BadInput(f"{run.path}: expected accuracies of clients; got none")
    ordered = sorted(latest, key=lambda client: (latest[client][1], client))
    sizes = np.diff(run.offsets)
    texts = []
    for client in ordered:
        round, accuracy = latest[client]
        texts.append(
            f"<b>client {client}</b><br>{percent(accuracy)} at round {round}"
            f"<br>{sizes[client]:,} samples"
        )
    drawn = {
        "type": "scatter",
        "mode": "markers",
        "x": list(range(1, len(ordered) + 1)),
        "y": [100 * latest[client][1] for client in ordered],
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": 6, "color": COLOURS[0]},
    }
    layout = {
        **THEME,
        "title": title_of(what),
        "xaxis": axis("clients, from the lowest to the highest", **_whole(len(ordered))),
        "yaxis": axis("accuracy, %"),
    }
    return {"data": [drawn], "layout": layout}


def _latest(run: Run, name: str) -> dict[int, tuple[int, float]]:
    """For each client that reported a value: the last such round, and the value."""
    found: dict[int, tuple[int, float]] = {}
    cohorts = run.clients
    if name not in cohorts.reported:
        return found
    values = cohorts.reported[name]
    for place, round in enumerate(run.rounds["round"].tolist()):
        begin, end = cohorts.offsets[place], cohorts.offsets[place + 1]
        for client, value in zip(cohorts.ids[begin:end], values[begin:end], strict=True):
            if np.isfinite(value):
                found[int(client)] = (round, float(value))
    return found


def time_figure(run: Run) -> Figure:
    """The seconds of each round by phase: areas one above the other, whose sum is the round.

    - training: of the busiest worker's clients;
    - the rest: tests, messages, averaging and files.

    Raises BadInput for a run without rounds.
    """
    rounds = run.rounds["round"]
    if not len(rounds):
        raise BadInput(f"{run.path}: expected at least one round; got none")
    data = []
    for number, (phase, seconds) in enumerate(_phases(run).items()):
        shown = numbers(seconds)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "stackgroup": "phases",
                "name": phase,
                "x": rounds.tolist(),
                "y": shown,
                "text": [
                    f"<b>{phase}</b><br>round {round}: {written(value)} s"
                    for round, value in zip(rounds.tolist(), seconds, strict=True)
                ],
                "hovertemplate": "%{text}<extra></extra>",
                "line": {"width": 1, "color": COLOURS[number]},
            }
        )
    layout = {
        **THEME,
        "title": title_of("time by phase"),
        "xaxis": axis("round"),
        "yaxis": axis("seconds", rangemode="tozero"),
        "showlegend": True,
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    }
    return {"data": data, "layout": layout}


def _phases(run: Run) -> dict[str, np.ndarray]:
    """Seconds [R] of each phase; they add up to those of the round."""
    unknown = np.zeros(len(run.rounds["round"]))
    whole = np.nan_to_num(run.rounds.get("seconds", unknown))
    training = np.clip(np.nan_to_num(run.rounds.get("seconds_train", unknown)), 0, whole)
    return {"training": training, "tests, messages and the rest": whole - training}
