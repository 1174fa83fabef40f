"""A table of methods: each one's numbers over its seeds, beside those of its paper."""

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
"""largest eigenvalue, trace; difference of norms and cosine of the clients' diagonals"""


class Published(NamedTuple):
    """A number from a paper."""

    value: float
    std: float
    """NaN where the paper has none"""


@dataclass(frozen=True)
class Column:
    """A quantity: one column of the table, or three where a paper has it too."""

    key: str
    title: str
    latex: str
    factor: float = 1.0
    """from the quantity's unit to the table's, which is that of `[published]`"""
    decimals: int | None = None
    """None: four significant digits"""


@dataclass(frozen=True)
class Row:
    """A group; its values are in the table's units."""

    label: str
    runs: int
    seeds: tuple[int, ...]
    figures: Mapping[str, Summary]
    published: Mapping[str, Published]
    longest: int
    """rounds of the group's longest run"""

    def difference(self, key: str) -> float:
        """Ours minus the published number; NaN where one is missing."""
        if key not in self.published:
            return math.nan
        return self.figures[key].mean - self.published[key].value


@dataclass(frozen=True)
class Comparison:
    """The whole table."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str]
    """what a reader must know to understand it"""

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
    """The table of the groups.

    - `target`: an accuracy (0..1), for the columns REACHED;
    - `last`: how many evaluations the final accuracy averages;
    - `table`: which of a paper's tables to read from `[published]`; "" is its main one;
    - `against`: the accuracy that is compared with the published one;
    - `measurement`: which measurement of CURVATURE to read.

    Columns that no group has are left out. Raises BadInput.
    """
    if target is not None and not 0 < target <= 1:
        raise BadInput(f"target: expected an accuracy above 0 and up to 1; got {target}")

    def figures(run: Run) -> dict[str, float]:
        return outcome(run, target, last) | metrics.scalars(Findings.open(run), measurement)

    summed = [summaries(group, figures) for group in groups]
    present: set[str] = set()
    for summaries_of_group in summed:
        present.update(summaries_of_group)
    columns = [column for column in _columns(target, summed) if column.key in present]
    rows = []
    for group, summaries_of_group in zip(groups, summed, strict=True):
        theirs = published(group.options, table, target, against)
        rows.append(_row(group, summaries_of_group, columns, theirs))
    notes = [*_notes(groups, last, target), *_sources(groups, table, rows)]
    if present & set(CURVATURE):
        source = f"measurement {measurement!r} of `mpifl hessian`"
        notes.append(f"curvature: {source}, of the last models measured")
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
    summed: Mapping[str, Summary],
    columns: Sequence[Column],
    theirs: Mapping[str, Published],
) -> Row:
    figures = {}
    for column in columns:
        if column.key in summed:
            ours = summed[column.key]
            figures[column.key] = ours._replace(
                mean=ours.mean * column.factor, std=ours.std * column.factor
            )
    return Row(
        group.label,
        len(group),
        tuple(run.seed for run in group.runs),
        figures,
        {key: number for key, number in theirs.items() if key in figures},
        max(int(run.rounds["round"][-1]) for run in group.runs),
    )


def published(
    options: Options, table: str = "", target: float | None = None, against: str = "final_accuracy"
) -> dict[str, Published]:
    """The numbers in a config's `[published]`, by the name of our quantity.

    `table`: of which table of the paper; "" is the main one.
    """
    where = "published."
    if table and options.get("published.table") != table:
        where = f"published.elsewhere.{table}."
    names = {against: "top1_acc", **{name: name for name in CURVATURE}}
    if target is not None:
        stated = f"rounds_to_{100 * target:g}pct"
        names["rounds_to_target"] = stated if where + stated in options else "rounds_to_target"
    found = {}
    for key, name in names.items():
        value = options.get(where + name)
        std = options.get(f"{where}{name}_std")
        if isinstance(value, int | float):
            found[key] = Published(float(value), math.nan if std is None else float(std))
    return found


def with_published_accuracy(panel: Panel, groups: Sequence[Group]) -> Panel:
    """Mark each group's published accuracy in a panel of test accuracy; leave others alone."""
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
        yield (
            "to a target: at the first evaluation that reaches it; "
            "(2 of 3): mean of those runs that do; >: none did"
        )
    for group in groups:
        for run in group.runs:
            if run.status != "complete":
                done = len(run.rounds["round"])
                planned = group.options.get("rounds", "?")
                yield f"{group.label}, seed {run.seed}: {run.status}, {done} of {planned} rounds"


def _sources(groups: Sequence[Group], table: str, rows: Sequence[Row]) -> Iterator[str]:
    """A note that names the papers and tables of the published numbers."""
    sources: dict[str, None] = {}
    for group, row in zip(groups, rows, strict=True):
        if row.published:
            paper = group.options.get("published.paper")
            where = table or group.options.get("published.table")
            sources[", ".join(part for part in (paper, where) if part)] = None
    if sources:
        yield f"published: {'; '.join(source for source in sources if source)}"
