"""A table of methods: what each came to, over its seeds, beside the number that its config quotes
from a paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mpifl.analysis.figures.panels import Panel
from mpifl.analysis.hessian import metrics
from mpifl.analysis.runs.curves import unit
from mpifl.analysis.runs.groups import Group, Options
from mpifl.analysis.runs.outcomes import REACHED, Summary, outcome, summaries
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Findings

CURVATURE = ("lambda_max", "H_T", "H_N", "H_D")
"""top eigenvalue and trace of the Hessian; difference of norm and cosine of the clients' diagonals
"""


class Published(NamedTuple):
    """A number that a paper gives."""

    value: float
    std: float
    """NaN where it gives none"""


@dataclass(frozen=True)
class Column:
    """One quantity: a column of the table, or three where papers have it too."""

    key: str
    title: str
    latex: str
    factor: float = 1.0
    """from the quantity's own unit to the table's, which `[published]` has too"""
    decimals: int | None = None
    """None: four significant digits"""


@dataclass(frozen=True)
class Row:
    """One group: all values in the table's units."""

    label: str
    runs: int
    seeds: tuple[int, ...]
    figures: Mapping[str, Summary]
    published: Mapping[str, Published]
    longest: int
    """rounds of the group's longest run"""

    def difference(self, key: str) -> float:
        """Ours minus the published; NaN without either."""
        return (
            self.figures[key].mean - self.published[key].value
            if key in self.published
            else math.nan
        )


@dataclass(frozen=True)
class Comparison:
    """The whole table."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str]
    """what a reader must know to read it"""

    def has_published(self, key: str) -> bool:
        """Whether any row has a published number of this column."""
        return any(key in row.published for row in self.rows)


def compare(
    groups: Sequence[Group],
    target: float | None = None,
    last: int = 1,
    table: str = "",
    against: str = "final_accuracy",
    measurement: str = "exact",
) -> Comparison:
    """The groups' figures: final accuracy as the mean of the `last` evaluations; REACHED for a
    `target` (0..1); CURVATURE of runs that have that `measurement` of it.

    `table` is which of a paper's tables `[published]` is read for, "" its main one, `against` the
    accuracy that is held against it. Columns that no group has are left out. Raises BadInput.
    """
    if target is not None and not 0 < target <= 1:
        raise BadInput(f"target: expected an accuracy above 0 and up to 1; got {target}")

    def figures(run: Run) -> dict[str, float]:
        return outcome(run, target, last) | metrics.scalars(Findings.open(run), measurement)

    summed = [summaries(group, figures) for group in groups]
    columns = [
        column for column in _columns(target, summed) if any(column.key in row for row in summed)
    ]
    rows = [
        _row(group, of, columns, table, target, against)
        for group, of in zip(groups, summed, strict=True)
    ]
    notes = [*_notes(groups, last, target), *_sources(groups, table, rows)]
    if any(key in row.figures for row in rows for key in CURVATURE):
        notes.append(
            f"curvature: measurement {measurement!r} of `mpifl hessian`, of the last models measured"
        )
    return Comparison(columns, rows, notes)


def _columns(target: float | None, summed: Sequence[Mapping[str, Summary]]) -> Iterator[Column]:
    yield Column("final_accuracy", "final, %", r"final, \%", 100, 2)
    yield Column("best_accuracy", "best, %", r"best, \%", 100, 2)
    if target is not None:
        to = f"{100 * target:g}"
        yield Column("rounds_to_target", f"rounds to {to} %", rf"rounds to {to}\,\%", 1, 1)
        for key in REACHED[1:]:
            spent = [of[key].mean for of in summed if of[key].n]
            factor, name = unit(key, max(spent, default=0))
            yield Column(key, f"{name} to {to} %", rf"{name} to {to}\,\%", factor, 1)
    yield Column("lambda_max", "λ_max", r"$\lambda_{\max}$")
    yield Column("H_T", "H_T", "$H_T$")
    yield Column("H_N", "H_N", "$H_N$")
    yield Column("H_D", "H_D", "$H_D$", 1, 3)


def _row(
    group: Group,
    of: Mapping[str, Summary],
    columns: Sequence[Column],
    table: str,
    target: float | None,
    against: str,
) -> Row:
    figures = {
        column.key: of[column.key]._replace(
            mean=of[column.key].mean * column.factor, std=of[column.key].std * column.factor
        )
        for column in columns
        if column.key in of
    }
    seeds = tuple(run.seed for run in group.runs)
    longest = max(int(run.rounds["round"][-1]) for run in group.runs)
    theirs = {
        key: value
        for key, value in published(group.options, table, target, against).items()
        if key in figures
    }
    return Row(group.label, len(group), seeds, figures, theirs, longest)


def published(
    options: Options, table: str = "", target: float | None = None, against: str = "final_accuracy"
) -> dict[str, Published]:
    """What `[published]` of a config says, by the name of our figure. `table`: of which table, ""
    the main one.
    """
    where = "published."
    if table and options.get("published.table") != table:
        where = f"published.elsewhere.{table}."
    names = {against: "top1_acc", **{name: name for name in CURVATURE}}
    if target is not None:
        stated = f"rounds_to_{100 * target:g}pct"
        names["rounds_to_target"] = stated if where + stated in options else "rounds_to_target"
    found = {
        key: (options.get(where + name), options.get(f"{where}{name}_std"))
        for key, name in names.items()
    }
    return {
        key: Published(float(value), math.nan if std is None else float(std))
        for key, (value, std) in found.items()
        if isinstance(value, int | float)
    }


def with_published_accuracy(panel: Panel, groups: Sequence[Group]) -> Panel:
    """The panel with a mark at each group's published accuracy, if it is a panel of test accuracy."""
    if not panel.y_title.startswith("test accuracy"):
        return panel
    marks = []
    for group in groups:
        known = published(group.options).get("final_accuracy")
        marks.append(None if known is None else known.value)
    return replace(panel, marks=marks)


def _notes(groups: Sequence[Group], last: int, target: float | None) -> Iterator[str]:
    if any(len(group) > 1 for group in groups):
        yield "mean ± sample standard deviation (n − 1) over runs that differ in the seed"
    if last > 1:
        yield f"final: the mean of the last {last} evaluations"
    if target is not None:
        yield "to a target: at the first evaluation that reaches it; (2 of 3): mean of those runs that do; >: none did"
    for group in groups:
        for run in group.runs:
            if run.status != "complete":
                done, planned = len(run.rounds["round"]), group.options.get("rounds", "?")
                yield f"{group.label}, seed {run.seed}: {run.status}, {done} of {planned} rounds"


def _sources(groups: Sequence[Group], table: str, rows: Sequence[Row]) -> Iterator[str]:
    sources = dict.fromkeys(
        ", ".join(
            filter(
                None,
                (
                    group.options.get("published.paper"),
                    table or group.options.get("published.table"),
                ),
            )
        )
        for group, row in zip(groups, rows, strict=True)
        if row.published
    )
    if sources:
        yield f"published: {'; '.join(filter(None, sources))}"
