"""Where the time of a round goes: by run, and on every rank of some runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpifl.analysis.figures.panels import COLOURS
from mpifl.analysis.figures.plotly_theme import THEME, Figure, axis, escaped, written
from mpifl.analysis.report import blocks, figures
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import MOST_MAPS, Compared
from mpifl.store import Run

_OF_ROUND = {
    "training of the busiest worker": COLOURS[0],
    "tests, messages, averaging and files": COLOURS[4],
}
_KINDS = {
    "train": ("training clients", COLOURS[0]),
    "test": ("testing", COLOURS[2]),
    "wait": ("waiting", COLOURS[4]),
    "communicate": ("messages", COLOURS[5]),
    "write": ("files and callbacks", COLOURS[3]),
}
"""names of /timeline, with their words and colours"""
_MOST_BARS = 40
"""of a figure"""
_LONGEST = 30
"""characters of a bar's name"""
_PIXELS = 24
"""of a bar"""


def time(compared: Compared) -> Section:
    """The mean seconds of a round by phase for each run, then by rank for some runs."""
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
    if len(runs) > _MOST_BARS:
        caption += f" (The first {_MOST_BARS} of {len(runs)} runs are drawn.)"
    seconds = [_phases(run) for run in runs[:_MOST_BARS]]
    made = _bars(names[:_MOST_BARS], seconds, list(_OF_ROUND.items()))
    whole = blocks.chart(made, "Time of a round by phase", caption)
    section.parts = [blocks.colour_key(list(_OF_ROUND.items())), blocks.charts([whole])]
    drawn = []
    for group in compared.groups[:MOST_MAPS]:
        run = group.runs[0]
        if run.timeline:
            drawn.append(_of_ranks(run.timeline, f"{group.label}, seed {run.seed}"))
    if drawn:
        section.parts += [blocks.colour_key(list(_KINDS.values())), blocks.charts(drawn)]
    return section


def _phases(run: Run) -> list[float]:
    """Mean seconds of each of _OF_ROUND, which add up to those of a round."""
    whole = np.nan_to_num(run.rounds["seconds"])
    training = np.clip(np.nan_to_num(run.rounds.get("seconds_train", 0 * whole)), 0, whole)
    return [float(training.mean()), float((whole - training).mean())]


def _of_ranks(timeline: Mapping[str, np.ndarray], name: str) -> str:
    """The chart of a run's ranks."""
    kinds = _known_kinds(timeline)
    ranks, seconds = rank_seconds(timeline)
    caption = (
        "Mean seconds of a round on each rank: the rank with the least waiting is the one that all "
        "others wait for."
    )
    if "communicate" not in kinds:
        caption += " Waiting has the messages too: the version that wrote this run did not tell."
    elif _has_older_rounds(timeline):
        caption += " In the rounds that an older version wrote, waiting has the messages too."
    count = timeline["train"].shape[1]
    if count > _MOST_BARS:
        caption += f" (Rank 0 and those that trained longest are drawn, of {count} ranks.)"
    names = [f"rank {rank}, server" if rank == 0 else f"rank {rank}" for rank in ranks]
    made = _bars(names, seconds, [_KINDS[kind] for kind in kinds])
    return blocks.chart(made, f"Time of a round by rank: {name}", caption)


def _known_kinds(timeline: Mapping[str, np.ndarray]) -> list[str]:
    """Those of _KINDS that the run has seconds of; older runs have none of messages."""
    return [kind for kind in _KINDS if kind in timeline and np.isfinite(timeline[kind]).any()]


def _has_older_rounds(timeline: Mapping[str, np.ndarray]) -> bool:
    """Whether some rounds, written before the run was resumed, do not tell messages apart."""
    is_older = np.isfinite(timeline["train"]) & np.isnan(timeline["communicate"])
    return bool(is_older.any())


def rank_seconds(timeline: Mapping[str, np.ndarray]) -> tuple[list[int], list[list[float]]]:
    """The ranks that are drawn, and for each its mean seconds of each kind that is known."""
    means = []
    for kind in _known_kinds(timeline):
        known = np.isfinite(timeline[kind])
        count = np.maximum(known.sum(0), 1)
        means.append(np.where(known, timeline[kind], 0).sum(0) / count)
    of_ranks = np.stack(means, axis=1)
    ranks = np.arange(len(of_ranks))
    if len(ranks) > _MOST_BARS:
        busiest = 1 + np.argsort(-of_ranks[1:, 0], kind="stable")[: _MOST_BARS - 1]
        ranks = np.concatenate([[0], np.sort(busiest)])
    return ranks.tolist(), of_ranks[ranks].tolist()


def _bars(
    names: Sequence[str], seconds: Sequence[Sequence[float]], kinds: Sequence[tuple[str, str]]
) -> Figure:
    """A bar for each name, of its seconds of each kind (words and colour) one after the other."""
    places = list(range(len(names)))
    data = []
    for place, (kind, colour) in enumerate(kinds):
        values = [of_one[place] for of_one in seconds]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": kind,
                "y": places,
                "customdata": [escaped(name) for name in names],
                "x": values,
                "text": [f"{written(value)} s" for value in values],
                "textposition": "none",
                "hovertemplate": f"<b>%{{customdata}}</b><br>{kind}: %{{text}}<extra></extra>",
                "marker": {"color": colour},
            }
        )
    layout = {
        **THEME,
        "barmode": "stack",
        "xaxis": axis("seconds a round", rangemode="tozero"),
        "yaxis": axis("", autorange="reversed", tickvals=places, ticktext=_short(names)),
        "height": 90 + _PIXELS * len(names),
    }
    return figures.slim({"data": data, "layout": layout})


def _short(names: Sequence[str]) -> list[str]:
    """Names that leave room for the bars on a phone; the whole ones are read at the bars."""
    short = []
    for name in names:
        cut = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 12]}… {name[-10:]}"
        short.append(escaped(cut))
    return short
