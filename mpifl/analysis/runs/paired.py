"""Methods against a baseline over the same seeds: mean differences with confidence intervals.

A difference is that of two runs of one seed, which share data, partition, cohorts and initial
weights (pairing.py). The interval is Student's; several methods are adjusted by Holm's steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpifl.analysis.runs import paired_notes
from mpifl.analysis.runs.comparison import Column, columns_of, figures_of
from mpifl.analysis.runs.differences import PairedRow, adjusted, difference
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.outcomes import summaries
from mpifl.analysis.runs.pairing import SHARED, Pairs, matched, refuse_repeated_seeds
from mpifl.options import BadInput, suggestion
from mpifl.store import Run

Known = Mapping[str, Mapping[str, float]]
"""the numbers of each run, by its run_id"""

_ACCURACIES = {
    "mean_accuracy": "mean of last {}, %",
    "last_accuracy": "last, %",
    "best_accuracy": "best, %",
}
"""the first columns: the primary one, and what papers also report"""


@dataclass(frozen=True)
class PairedTable:
    """The whole table."""

    columns: Sequence[Column]
    baseline: str
    baseline_seeds: tuple[int, ...]
    baseline_means: Mapping[str, float]
    """over all of its seeds"""
    rows: Sequence[PairedRow]
    notes: Sequence[str]


@dataclass(frozen=True)
class Pairing:
    """How methods are compared with a baseline."""

    baseline: str = ""
    """the label of its group, or the path of one of its runs; "": the first group"""
    last: int = 5
    """how many evaluations the primary column averages; fixed before one looks"""
    target: float | None = None
    """an accuracy (0..1), for columns of what reaching it cost"""
    measurement: str = "exact"
    """which curvature"""
    chosen: Sequence[str] = ()
    """the columns; () for the usual ones"""
    unshared: Sequence[str] = ()
    """names of pairing.SHARED that may differ"""

    def __post_init__(self) -> None:
        for name in self.unshared:
            if name not in SHARED:
                raise BadInput(f"--unshared: {name}: unknown name{suggestion(name, SHARED)}")


def compare_paired(groups: Sequence[Group], how: Pairing) -> PairedTable:
    """The table of all groups but the baseline. Raises BadInput where runs cannot be paired."""
    for group in groups:
        refuse_repeated_seeds(group)
    _refuse_other_domains(groups)
    baseline = _baseline(groups, how.baseline)
    others = [group for group in groups if group is not baseline]
    if not others:
        raise BadInput(
            f"paired: expected runs of the baseline and of other methods; got {baseline.label} only"
        )
    pairs = [matched(group, baseline, how.unshared) for group in others]
    figures = _figures(how)
    known = {run.run_id: figures(run) for group in groups for run in group.runs}
    columns = _columns(groups, known, how)
    rows = adjusted(
        [_row(of_group, columns, known) for of_group in pairs], [column.key for column in columns]
    )
    means = {}
    for column in columns:
        means[column.key] = float(np.mean(_values(baseline.runs, column, known)))
    notes = [
        *paired_notes.of_rows(rows, columns[0].title),
        *paired_notes.of_columns(how.last),
        *paired_notes.of_pairs(pairs, how.unshared),
        *paired_notes.of_runs(groups, how.last),
    ]
    seeds = tuple(run.seed for run in baseline.runs)
    return PairedTable(columns, baseline.label, seeds, means, rows, notes)


def _row(pairs: Pairs, columns: Sequence[Column], known: Known) -> PairedRow:
    differences = {}
    for column in columns:
        ours = _values(pairs.ours, column, known)
        found = difference(ours, _values(pairs.theirs, column, known))
        if found is not None:
            differences[column.key] = found
    return PairedRow(pairs.label, tuple(run.seed for run in pairs.ours), differences)


def _baseline(groups: Sequence[Group], name: str) -> Group:
    """The group of this label, or with the run of this path; the first group for no name."""
    if not name:
        return groups[0]
    for group in groups:
        if group.label == name or any(_is_at(run, name) for run in group.runs):
            return group
    labels = [group.label for group in groups]
    raise BadInput(
        f"--paired: expected a method's label, or the path of one of its runs; got "
        f"{name}{suggestion(name, labels)}"
    )


def _is_at(run: Run, path: str) -> bool:
    return Path(path).resolve() in (run.path.resolve(), run.file.resolve())


def _refuse_other_domains(groups: Sequence[Group]) -> None:
    """Raise BadInput where runs leave different domains out: these are no pairs."""
    domains = {}
    for group in groups:
        domains.update(dict.fromkeys(group.left_out))
    if len(domains) > 1:
        raise BadInput(
            "paired: expected runs that leave the same domain out; got runs that leave out "
            f"{', '.join(domains)}; name the runs of one domain at a time"
        )


def _figures(how: Pairing) -> Callable[[Run], dict[str, float]]:
    read = figures_of(how.target, how.last, how.measurement, how.chosen)

    def figures(run: Run) -> dict[str, float]:
        found = read(run)
        return found | {"mean_accuracy": found["final_accuracy"]}

    return figures


def _columns(groups: Sequence[Group], known: Known, how: Pairing) -> list[Column]:
    """What is compared; the accuracies first, unless others are chosen."""
    summed = [summaries(group, lambda run: known[run.run_id]) for group in groups]
    accuracies = {}
    for key, title in _ACCURACIES.items():
        text = title.format(how.last)
        accuracies[key] = Column(key, text, text.replace("%", r"\%"), 100, 2)
    columns = []
    for name in how.chosen:
        if f"{name}_accuracy" in accuracies:
            columns.append(accuracies[f"{name}_accuracy"])
        else:
            columns += columns_of(groups, summed, how.target, [name])
    if columns:
        return columns
    if how.last == 1:
        del accuracies["mean_accuracy"]
    usual = columns_of(groups, summed, how.target)
    others = [column for column in usual if column.key not in ("final_accuracy", "best_accuracy")]
    return [*accuracies.values(), *others]


def _values(runs: Sequence[Run], column: Column, known: Known) -> np.ndarray:
    """A number of each run (n), in the column's unit; NaN where a run has none."""
    values = [known[run.run_id].get(column.key, math.nan) for run in runs]
    return np.array(values) * column.factor
