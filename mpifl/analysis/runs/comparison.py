"""A table of methods: each one's numbers over its seeds, beside those of its paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mpifl.analysis.flatness.comparison import local_global_scalars
from mpifl.analysis.hessian import metrics
from mpifl.analysis.runs import left_out
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.outcomes import REACHED, Summary, outcome, summaries
from mpifl.analysis.runs.published import (
    CURVATURE,
    Published,
    departure_note,
    departures,
    published_of,
    states_target,
)
from mpifl.analysis.runs.quantities import GENERALISATION, column_of
from mpifl.analysis.runs.series import series
from mpifl.analysis.runs.units import title, unit
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Findings
from mpifl.terminal import say

LOCAL_GLOBAL = {
    "lambda_max_local": "λ_max local",
    "lambda_max_global": "λ_max global",
    "flatness_gap": "flatness gap",
    "inconsistency": "inconsistency",
}
"""columns of what `mpifl hessian --local-against-global` has measured, and their titles"""

_CURVATURE_ROUND = "curvature_round"
"""the round whose model was measured, where it is not the run's last"""
_FIRST = {"final": "final_accuracy", "accuracy": "final_accuracy", "best": "best_accuracy"}
"""what the first columns are called when they are chosen"""


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
    departures: Sequence[str] = ()
    """what sets its runs apart from the published experiment; empty: nothing"""
    to_another_target: bool = False
    """whether the published rounds are to a target that the paper does not state"""

    def difference(self, key: str) -> float:
        """Ours minus the published number; NaN where one is missing, or the experiment another."""
        if key not in self.published or self.departures:
            return math.nan
        if key == "rounds_to_target" and self.to_another_target:
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
    chosen: Sequence[str] = (),
) -> Comparison:
    """The table of the groups.

    - `target`: an accuracy (0..1), for the columns REACHED;
    - `last`: how many evaluations the final accuracy averages;
    - `table`: which of a paper's tables to read from `[published]`; "" is its main one;
    - `against`: the accuracy that is compared with the published one;
    - `measurement`: which measurement of CURVATURE to read;
    - `chosen`: the names of the columns to show; () for the usual ones.

    Columns that no group has are left out. Raises BadInput.
    """
    figures = figures_of(target, last, measurement, chosen)
    summed = [summaries(group, figures) for group in groups]
    columns = columns_of(groups, summed, target, chosen)
    present = {column.key for column in columns}
    rows = []
    for group, summaries_of_group in zip(groups, summed, strict=True):
        theirs = published_of(group, table, target, against)
        row = _row(group, summaries_of_group, columns, theirs)
        is_stated = target is None or states_target(group.options, table, target)
        rows.append(replace(row, to_another_target=not is_stated))
    notes = [*_notes(groups, last, target), *_sources(groups, table, rows), *_departures(rows)]
    if any(row.to_another_target and "rounds_to_target" in row.published for row in rows):
        notes.append("published rounds: to a target that the paper does not state; no difference")
    if present & (set(GENERALISATION) - set(left_out.OF_DOMAINS)):
        notes.append(
            "gap to training: accuracy on training samples - on the test set; own test sets: mean "
            "over clients that train, and over the tenth of them with the lowest; unseen clients: "
            "mean over clients that never train; participation gap: own test sets - unseen clients"
        )
    if present & set(CURVATURE):
        source = f"measurement {measurement!r} of `mpifl hessian`"
        notes.append(f"curvature: {source}, of the last models measured")
        older = [row.label for row, of in zip(rows, summed, strict=True) if _CURVATURE_ROUND in of]
        if older:
            notes.append(
                f"curvature of {', '.join(older)}: of an older round than the accuracy; "
                "`mpifl hessian` measures the last stored one"
            )
    if present & set(LOCAL_GLOBAL):
        notes.append(
            "λ_max local: of the clients' own models on their own samples, the mean; global: of "
            "the global model on the samples of all of them; flatness gap: its sharpness there - "
            "that of the local ones; inconsistency: its mean sharpness on each client's samples - "
            "that on all"
        )
    return Comparison(columns, rows, notes)


def figures_of(
    target: float | None, last: int, measurement: str, chosen: Sequence[str] = ()
) -> Callable[[Run], dict[str, float]]:
    """What reads the numbers of a run, for `compare`'s options. Raises BadInput."""
    if target is not None and not 0 < target <= 1:
        raise BadInput(f"target: expected an accuracy above 0 and up to 1; got {target}")
    quantities = [column_of(name) for name in chosen] or list(GENERALISATION)

    def figures(run: Run) -> dict[str, float]:
        return outcome(run, target, last, quantities) | _curvature(run, measurement)

    return figures


def _curvature(run: Run, measurement: str) -> dict[str, float]:
    """The curvature measured of a run; none, told in a line, if its hessian.h5 cannot be read."""
    try:
        findings = Findings.open(run)
        found = metrics.scalars(findings, measurement)
        found |= local_global_scalars(findings, measurement)
        rows = metrics.metrics(findings, measurement)
        rounds = [row.round for row in rows if row.client == metrics.GLOBAL]
        if rounds and rounds[-1] < run.rounds["round"][-1]:
            found[_CURVATURE_ROUND] = float(rounds[-1])
        return found
    except BadInput as problem:
        say(f"mpifl: {problem}; the table leaves out its curvature", error=True)
        return {}


def columns_of(
    groups: Sequence[Group],
    summed: Sequence[Mapping[str, Summary]],
    target: float | None,
    chosen: Sequence[str] = (),
) -> list[Column]:
    """The columns of a table: the usual ones that some group has, or the `chosen` ones.

    Raises BadInput for a chosen name that no run has.
    """
    present = {key for summaries_of_group in summed for key in summaries_of_group}
    usual = {column.key: column for column in _columns(target, summed)}
    if not chosen:
        return [column for column in usual.values() if column.key in present]
    columns = []
    for name in chosen:
        key = _FIRST.get(name, column_of(name))
        if key not in present and key in (*CURVATURE, *LOCAL_GLOBAL):
            raise BadInput(
                f"columns: expected runs whose {name} `mpifl hessian` measured; got none"
            )
        if key not in present:
            series(groups[0].runs[0], name)  # says what is known
        spent = [of[key].mean for of in summed if key in of and of[key].n]
        columns.append(usual.get(key) or _column(key, max(spent, default=0)))
    return columns


def _column(quantity: str, largest: float) -> Column:
    """The column of a quantity that usual tables do not have."""
    factor, name = unit(quantity, largest)
    text = title(quantity, name)
    return Column(quantity, text, text.replace("%", r"\%"), factor, 2 if name == "%" else None)


def _columns(target: float | None, summed: Sequence[Mapping[str, Summary]]) -> Iterator[Column]:
    yield Column("final_accuracy", "final, %", r"final, \%", 100, 2)
    yield Column("best_accuracy", "best, %", r"best, \%", 100, 2)
    of_domains: dict[str, None] = {}
    for summaries_of_group in summed:
        of_domains.update(dict.fromkeys(summaries_of_group))
    for key, name in (*left_out.columns(list(of_domains)), *GENERALISATION.items()):
        yield Column(key, f"{name}, %", rf"{name}, \%", 100, 2)
    if target is not None:
        to = f"{100 * target:g}"
        yield Column("rounds_to_target", f"rounds to {to} %", rf"rounds to {to}\,\%", 1, 1)
        for key in REACHED[1:]:
            if not any(of[key.removesuffix("_to_target")].n for of in summed):
                continue  # runs of before 0.2 stored no FLOPs
            spent = [of[key].mean for of in summed if of[key].n]
            factor, name = unit(key, max(spent, default=0))
            yield Column(key, f"{name} to {to} %", rf"{name} to {to}\,\%", factor, 1)
    yield Column("lambda_max", "λ_max", r"$\lambda_{\max}$")
    yield Column("H_T", "H_T", "$H_T$")
    yield Column("H_N", "H_N", "$H_N$")
    yield Column("H_D", "H_D", "$H_D$", 1, 3)
    for key, name in LOCAL_GLOBAL.items():
        yield Column(key, name, name.replace("λ_max", r"$\lambda_{\max}$"))


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
    beside = {key: number for key, number in theirs.items() if key in figures}
    return Row(
        group.label,
        len(group),
        tuple(run.seed for run in group.runs),
        figures,
        beside,
        max(int(run.rounds["round"][-1]) for run in group.runs),
        departures(group) if beside else (),
    )


def _has_seeds(group: Group) -> bool:
    """Whether the runs of a group differ in the seed."""
    return len({run.seed for run in group.runs}) > 1


def _notes(groups: Sequence[Group], last: int, target: float | None) -> Iterator[str]:
    if any(_has_seeds(group) for group in groups):
        yield "mean ± sample standard deviation (n − 1) over runs that differ in the seed"
    if last > 1:
        yield f"final: the mean of the last {last} evaluations"
    if target is not None:
        yield (
            "to a target: at the first evaluation that reaches it; "
            "(2 of 3): mean of those runs that do; >: none did"
        )
    domains = dict.fromkeys(name for group in groups for name in group.left_out)
    if domains:
        yield left_out.note(list(domains))
    for group in groups:
        missing = [name for name in domains if name not in group.left_out]
        if missing:
            yield f"{group.label}: no runs that leave out {', '.join(missing)}"
        for run in group.runs:
            if run.status != "complete":
                done = len(run.rounds["round"])
                planned = group.options.get("rounds", "?")
                yield f"{group.label}, seed {run.seed}: {run.status}, {done} of {planned} rounds"


def _departures(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row.departures:
            yield departure_note(row.label, row.departures)


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
