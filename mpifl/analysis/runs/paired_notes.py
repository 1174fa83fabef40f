"""What a reader must know of a paired table: what ± is, and where seeds are too few to tell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mpifl.analysis.runs.differences import PairedRow
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.pairing import Pairs, not_compared
from mpifl.analysis.runs.series import series
from mpifl.analysis.runs.statistics import ENOUGH
from mpifl.terminal import plural


def of_rows(rows: Sequence[PairedRow], primary: str) -> Iterator[str]:
    """What a cell says, and for each method whether there are enough seeds.

    `primary`: the title of the first column.
    """
    yield (
        "the first row: means; below: differences to it over shared seeds, ± half the width of the "
        "95 % confidence interval (Student's t), which covers seeds alone: no other data, "
        "partitions or settings"
    )
    if max(len(row.seeds) for row in rows) >= ENOUGH:
        yield (
            f"*: p < 0.05 by the paired t test, adjusted over {plural(len(rows), 'method')} "
            f"(Holm), from {ENOUGH} seeds on"
        )
    for row in rows:
        yield from _of_row(row, primary.removesuffix(", %"))


def _of_row(row: PairedRow, primary: str) -> Iterator[str]:
    seeds = len(row.seeds)
    if seeds == 1:
        yield f"{row.label}: 1 shared seed says nothing about chance: no interval, no star"
        return
    if seeds < ENOUGH:
        yield (
            f"{row.label}: {seeds} shared seeds are too few for a star: differences of one sign "
            f"come by chance with p = {2 / 2**seeds:.3g}"
        )
    found = next(iter(row.differences.values()), None)
    if found is None or math.isnan(found.half_width) or found.is_told or not found.mean:
        return
    needed = f"about {found.seeds_to_tell}" if found.seeds_to_tell else "more than 1,000"
    yield (
        f"{row.label}: too few seeds to tell the {primary} from the baseline's, the interval has 0 "
        f"in it; a difference of {found.mean:+.2g} would take {needed} seeds"
    )


def of_columns(last: int) -> Iterator[str]:
    """What the accuracies are of, and which of them to trust."""
    if last > 1:
        yield (
            f"last: of the last evaluation; best: of the best one, which rewards noise; all other "
            f"columns but curvature: means of the last {last} evaluations, a number to fix "
            "beforehand"
        )
    else:
        yield (
            "last: of the last evaluation; best: of the best one, which rewards noise; --last 5 "
            "averages the last 5 evaluations"
        )


def of_pairs(matched: Sequence[Pairs], unshared: Sequence[str]) -> Iterator[str]:
    """Which seeds are left out, and what is not known to be shared."""
    for pairs in matched:
        if pairs.dropped:
            seeds = ", ".join(str(seed) for seed in pairs.dropped)
            yield f"{pairs.label}: left out, for only one of the two has it: seed {seeds}"
        reasons: dict[str, str] = {}
        for ours, theirs in zip(pairs.ours, pairs.theirs, strict=True):
            reasons.update(not_compared(ours, theirs))
        if reasons:
            words = ", ".join(f"{name} ({why})" for name, why in reasons.items())
            yield f"{pairs.label}: not known to be shared with the baseline: {words}"
    if unshared:
        yield f"not shared, by --unshared: {', '.join(unshared)}"


def of_runs(groups: Sequence[Group], last: int) -> Iterator[str]:
    """Which runs are not finished, or not evaluated like the others."""
    evaluated: dict[tuple[int, ...], str] = {}
    for group in groups:
        for run in group.runs:
            name = f"{group.label}, seed {run.seed}"
            rounds = series(run, "accuracy")[0].tolist()
            evaluated.setdefault(tuple(rounds), name)
            if len(rounds) < last:
                yield f"{name}: has {plural(len(rounds), 'evaluation')}, fewer than {last}"
            if run.status != "complete":
                yield f"{name}: {run.status}, last evaluated in round {rounds[-1]}"
    if len(evaluated) > 1:
        first, second, *_ = evaluated.values()
        yield f"evaluated in other rounds, so compare with care: {first}; {second}"
