"""What accuracy costs, in rounds, bytes and time, and where the time of a round goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpifl.analysis.figures.panels import COLOURS
from mpifl.analysis.figures.plotly_figures import THEME, Figure, axis, escaped, written
from mpifl.analysis.report import blocks, figures
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.report.scores import columns_table
from mpifl.analysis.runs.comparison import Comparison
from mpifl.analysis.runs.outcomes import REACHED
from mpifl.store import Run

_OVER = {
    "bytes": (
        "Accuracy by bytes sent",
        "Test accuracy over the bytes that servers and clients of a real federation would have "
        "sent so far: further left is cheaper.",
    ),
    "seconds": (
        "Accuracy by time",
        "Test accuracy over the wall-clock time of the simulation so far, which depends on the "
        "machine.",
    ),
}
_PHASES = {
    "training of the busiest worker": COLOURS[0],
    "tests, messages, averaging and files": COLOURS[4],
}
_MOST_RUNS = 40
"""bars of runs that are drawn"""


def costs(compared: Compared, comparison: Comparison) -> Section:
    """Rounds, bytes and seconds to the target, and accuracy over bytes and seconds."""
    section = Section("costs", "What accuracy costs")
    made = []
    for over, (title, caption) in _OVER.items():
        made.append(compared.curve("accuracy", title, caption, over))
    if compared.target is not None:
        percentage = f"{100 * compared.target:g} %"
        section.parts.append(
            columns_table(
                comparison,
                REACHED,
                f"What it took until the first test at or above {percentage} accuracy, the mean "
                "over seeds ± standard deviation; (2 of 3): over the runs that reached it.",
            )
        )
    section.parts.append(compared.legend())
    section.parts.append(blocks.charts([chart for chart in made if chart]))
    return section


def time(compared: Compared) -> Section:
    """The mean seconds of a round, by phase, for each run."""
    section = Section("time", "Where the time went")
    names = []
    runs = []
    for group in compared.groups:
        for run in group.runs:
            if len(run.rounds["round"]) and "seconds" in run.rounds:
                names.append(f"{group.label}, seed {run.seed}")
                runs.append(run)
    if not runs:
        return section
    caption = (
        "Mean seconds of a round: the longest time that a rank trained, and all the rest of the "
        "round, in which ranks test, wait for each other, send, average and write."
    )
    if len(runs) > _MOST_RUNS:
        caption += f" The first {_MOST_RUNS} of {len(runs)} runs are drawn."
    made = _bars(names[:_MOST_RUNS], [_phases(run) for run in runs[:_MOST_RUNS]])
    section.parts = [blocks.charts([blocks.chart(made, "Time of a round by phase", caption)])]
    return section


def _phases(run: Run) -> list[float]:
    """Mean seconds of each of _PHASES, which add up to those of a round."""
    whole = np.nan_to_num(run.rounds["seconds"])
    training = np.clip(np.nan_to_num(run.rounds.get("seconds_train", 0 * whole)), 0, whole)
    return [float(training.mean()), float((whole - training).mean())]


def _bars(names: Sequence[str], seconds: Sequence[Sequence[float]]) -> Figure:
    """A bar for each name, of its seconds by phase."""
    data = []
    for place, (phase, colour) in enumerate(_PHASES.items()):
        values = [of_run[place] for of_run in seconds]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": phase,
                "y": [escaped(name) for name in names],
                "x": values,
                "text": [f"{written(value)} s" for value in values],
                "textposition": "none",
                "hovertemplate": f"<b>%{{y}}</b><br>{phase}: %{{text}}<extra></extra>",
                "marker": {"color": colour},
            }
        )
    layout = {
        **THEME,
        "barmode": "stack",
        "xaxis": axis("seconds a round", rangemode="tozero"),
        "yaxis": {**axis(""), "autorange": "reversed", "nticks": len(names)},
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "normal",
        },
        "height": 120 + 24 * len(names),
    }
    return figures.slim({"data": data, "layout": layout})
