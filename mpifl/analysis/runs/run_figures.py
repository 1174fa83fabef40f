"""Figures of a single run, for pages: where time goes.

A figure is a dict of its data and its layout, in the theme of `figures/plotly_figures.py`;
`figures/plotly_page.py` makes a page of several.
"""

from __future__ import annotations

import numpy as np

from mpifl.analysis.figures.panels import COLOURS
from mpifl.analysis.figures.plotly_theme import THEME, Figure, axis, numbers, title_of, written
from mpifl.options import BadInput
from mpifl.store import Run


def time_figure(run: Run) -> Figure:
    """The seconds of each round by phase: areas one above the other, whose sum is the round.

    - training: of the busiest worker;
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
