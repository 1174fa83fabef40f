"""Published numbers of groups of runs, and whether they can be compared with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from mpifl.analysis.figures.panels import Panel
from mpifl.analysis.runs.groups import Group, Options, options

CURVATURE = ("lambda_max", "H_T", "H_N", "H_D")
"""largest eigenvalue, trace; difference of norms and cosine of the clients' diagonals"""


class Published(NamedTuple):
    """A number from a paper."""

    value: float
    std: float
    """NaN where the paper has none"""


def published(
    options: Options, table: str = "", target: float | None = None, against: str = "final_accuracy"
) -> dict[str, Published]:
    """The numbers in a config's `[published]`, by the name of our quantity.

    `table`: of which table of the paper; "" is the main one.
    """
    where = _where(options, table)
    names = {against: "top1_acc", **{name: name for name in CURVATURE}}
    if target is not None:
        is_stated = states_target(options, table, target)
        names["rounds_to_target"] = _rounds_to(target) if is_stated else "rounds_to_target"
    found = {}
    for key, name in names.items():
        value = options.get(where + name)
        std = options.get(f"{where}{name}_std")
        if isinstance(value, int | float):
            found[key] = Published(float(value), math.nan if std is None else float(std))
    return found


def _where(options: Options, table: str) -> str:
    """What the names of a table's numbers begin with."""
    if table and options.get("published.table") != table:
        return f"published.elsewhere.{table}."
    return "published."


def _rounds_to(target: float) -> str:
    return f"rounds_to_{100 * target:g}pct"


def states_target(options: Options, table: str, target: float) -> bool:
    """Whether the paper has its rounds to this target, and not to one that it does not state."""
    return _where(options, table) + _rounds_to(target) in options


def published_of(
    group: Group, table: str = "", target: float | None = None, against: str = "final_accuracy"
) -> dict[str, Published]:
    """The published numbers on which all runs of a group agree; as `published`."""
    shared = published(options(group.runs[0]), table, target, against)
    for run in group.runs[1:]:
        theirs = published(options(run), table, target, against)
        shared = {key: number for key, number in shared.items() if _same(number, theirs.get(key))}
    return shared


def _same(one: Published, other: Published | None) -> bool:
    return other is not None and repr(one) == repr(other)  # NaN is not equal to itself


def departures(group: Group) -> list[str]:
    """What sets the runs of a group apart from the experiment whose numbers they quote.

    Options that were overridden, each once, and runs that have not played all their rounds.
    """
    from mpifl.runner.published import changes  # brings torch, which takes seconds

    found: dict[str, None] = {}
    for run in group.runs:
        source = str(run.provenance.get("data_source", ""))
        found.update(dict.fromkeys(str(change) for change in changes(run.config, source)))
        if run.resumed_otherwise:
            found[f"seed {run.seed} was resumed {run.resumed_otherwise}"] = None
        planned = options(run).get("rounds")
        done = int(run.rounds["round"][-1])
        if isinstance(planned, int) and done < planned:
            found[f"seed {run.seed} has {done} of {planned} rounds"] = None
    return list(found)


def published_accuracies(groups: Sequence[Group]) -> list[float | None]:
    """Each group's published accuracy; None where it has none, or is another experiment."""
    marks: list[float | None] = []
    for group in groups:
        known = published_of(group).get("final_accuracy")
        is_comparable = known is not None and not departures(group)
        marks.append(known.value if known is not None and is_comparable else None)
    return marks


def with_published_accuracy(panel: Panel, groups: Sequence[Group]) -> Panel:
    """Mark each group's published accuracy in a panel of test accuracy; leave others alone."""
    if not panel.y_title.startswith("test accuracy"):
        return panel
    return replace(panel, marks=published_accuracies(groups))


def departure_notes(groups: Sequence[Group]) -> Iterator[str]:
    """A line for each group that quotes a published accuracy and is another experiment."""
    for group in groups:
        found = departures(group) if "final_accuracy" in published_of(group) else []
        if found:
            yield departure_note(group.label, found)


def departure_note(label: str, found: Sequence[str]) -> str:
    """Why a group is not compared with the published numbers that it quotes."""
    what = "; ".join(found)
    return f"{label}: not the published experiment, so not compared with it: {what}"
