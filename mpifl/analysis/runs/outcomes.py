"""A run in a few numbers: final and best accuracy, the cost, and the cost to reach a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mpifl.analysis.runs import left_out
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.quantities import GENERALISATION
from mpifl.analysis.runs.series import has, series
from mpifl.options import BadInput
from mpifl.store import Run

REACHED = ("rounds_to_target", "flops_to_target", "bytes_to_target", "seconds_to_target")
"""up to the first evaluation at or above the target; NaN where it was not reached"""


class Summary(NamedTuple):
    """A number of a group: mean and spread over the runs that have it."""

    mean: float
    std: float
    """sample standard deviation (n - 1); NaN for one run"""
    n: int
    """runs that have it"""
    of: int
    """runs of the group"""


def outcome(
    run: Run,
    target: float | None = None,
    last: int = 1,
    quantities: Sequence[str] = tuple(GENERALISATION),
) -> dict[str, float]:
    """The numbers of one run, by name.

    final_accuracy and final_loss (means of the `last` evaluations), last_accuracy, best_accuracy,
    best_round, rounds, flops, bytes (up and down), seconds; `quantities` where the run has them
    (means of the `last` evaluations that have); for a run that leaves domains out those of
    left_out.py; with a `target` (0..1) also REACHED. Accuracies are fractions.

    Raises BadInput for a run without evaluations.
    """
    rounds, accuracy = series(run, "accuracy")
    best = int(accuracy.argmax())
    figures = {
        "final_accuracy": float(accuracy[-last:].mean()),
        "last_accuracy": float(accuracy[-1]),
        "best_accuracy": float(accuracy[best]),
        "best_round": int(rounds[best]),
        "final_loss": float(series(run, "loss")[1][-last:].mean()),
        "rounds": int(run.rounds["round"][-1]),
        "flops": _until(run, "flops"),
        "bytes": _until(run, "bytes"),
        "seconds": _until(run, "seconds"),
    }
    for name in quantities:
        if name not in figures and has(run, name):
            figures[name] = float(series(run, name)[1][-last:].mean())
    figures |= left_out.outcome(run, figures)
    if target is None:
        return figures
    above = np.flatnonzero(accuracy >= target)
    if not len(above):
        return figures | dict.fromkeys(REACHED, float("nan"))
    round = int(rounds[above[0]])
    return figures | {
        "rounds_to_target": float(round),
        "flops_to_target": _until(run, "flops", round),
        "bytes_to_target": _until(run, "bytes", round),
        "seconds_to_target": _until(run, "seconds", round),
    }


def _until(run: Run, quantity: str, round: int | None = None) -> float:
    """What was spent up to the end of `round`, or of the run; NaN where it is not known."""
    try:
        rounds, spent = series(run, quantity)
    except BadInput:
        return float("nan")
    if round is not None:
        spent = spent[rounds <= round]
    return float(spent[-1]) if len(spent) else float("nan")


def summaries(
    group: Group, figures_of: Callable[[Run], Mapping[str, float]], names: Sequence[str] = ()
) -> dict[str, Summary]:
    """Mean and spread of the numbers that `figures_of` returns for each run of a group, by name.

    Runs of one seed that leave different domains out count as one. Runs that lack a number, or have
    NaN, do not count for it. `names` are always in the result.
    """
    rows = []
    for repeat in left_out.repeats(group.runs):
        domains = [left_out.name_of(run) for run in repeat]
        of_runs = [figures_of(run) for run in repeat]
        rows.append(left_out.over_domains(of_runs, domains, group.left_out))
    every = dict.fromkeys(names)
    for row in rows:
        every.update(dict.fromkeys(row))
    found = {}
    for name in every:
        found[name] = summary([row.get(name, float("nan")) for row in rows])
    return found


def summary(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation of the values that are numbers.

    >>> summary([1.0, 3.0, float("nan")])
    Summary(mean=2.0, std=1.4142135623730951, n=2, of=3)
    """
    known = np.array([value for value in values if np.isfinite(value)])
    mean = float(known.mean()) if len(known) else float("nan")
    std = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    return Summary(mean, std, len(known), len(values))
