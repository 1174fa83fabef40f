"""Runs that each leave another domain out: accuracy by domain, mean and worst over the domains.

The last round is the primary figure. `source-best` is the first round with the best accuracy on the
validation set, the mean over the domains that train. The best round on the left-out domain itself
is an oracle. As usual in domain generalisation, a mean over domains gives each the same weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.evaluations import NAMES

FINAL = "final_accuracy"
SOURCE_BEST = "source_best_accuracy"
WORST = "worst_domain_accuracy"
SOURCE_BEST_WORST = "source_best_worst_domain_accuracy"
OF_DOMAINS = ("test_accuracy_worst_domain", "source_accuracy")
"""columns of /rounds about domains, of which `note` says enough"""
_FIGURES = {FINAL: "", SOURCE_BEST: "source-best"}
"""what is also shown for each left-out domain, and how its columns say so"""
_OF_DOMAIN = ":"


class Chosen(NamedTuple):
    """A round that was chosen, and the test accuracy after it."""

    round: int
    accuracy: float


def name_of(run: Run) -> str:
    """The domains that a run leaves out, as one word; "" for none."""
    return "+".join(run.left_out)


def source_best(run: Run) -> Chosen | None:
    """The first round with the best source accuracy; None where that was not measured."""
    source = run.rounds.get("source_accuracy", np.zeros(0))
    if not run.left_out or not np.isfinite(source).any():
        return None
    place = int(np.nanargmax(source))
    return Chosen(int(run.rounds["round"][place]), float(run.rounds["test_accuracy"][place]))


def domain_accuracy(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rounds [E], and accuracy [E, D] of each domain on the set `name` (test, train, own, source).

    NaN for domains without samples. Raises BadInput where the run has not counted it.
    """
    why = "the data have no domains, or the set was not evaluated"
    return accuracy_by(run, name, "domain", why)


def accuracy_by(run: Run, name: str, kind: str, why: str) -> tuple[np.ndarray, np.ndarray]:
    """Rounds [E], and accuracy of each class or domain (`kind`) on a set, from its counts.

    NaN where there are no samples. Raises BadInput, with `why`, where the run has no such counts.
    """
    array = f"{name}_right_by_{kind}"
    if array not in run.evaluations:
        raise BadInput(f"{run.path}: expected {array} in /evaluations; got none: {why}")
    right = run.evaluations[array].astype("f8")
    is_counted = (right >= 0).all(1)
    samples = run.evaluations[f"{name}_samples_by_{kind}"]
    accuracy = np.where(samples > 0, right / np.maximum(samples, 1), np.nan)
    return run.evaluations["round"][is_counted], accuracy[is_counted]


def last_by_domain(run: Run) -> dict[str, dict[str, float]]:
    """The last accuracy of each domain, by its name, on the test and the validation set."""
    found = {}
    for name in ("test", "source"):
        if f"{name}_right_by_domain" not in run.evaluations:
            continue
        accuracies = domain_accuracy(run, name)[1][-1].tolist()
        of_domains = dict(zip(run.evaluations[NAMES].tolist(), accuracies, strict=True))
        found[name] = {d: accuracy for d, accuracy in of_domains.items() if np.isfinite(accuracy)}
    return found


def outcome(run: Run, figures: Mapping[str, float]) -> dict[str, float]:
    """What a run's `figures` say of the domains that it leaves out; nothing for none."""
    if not run.left_out:
        return {}
    found = {}
    best = source_best(run)
    if best is not None:
        found[SOURCE_BEST] = best.accuracy
    domain = name_of(run)
    for name, value in ({FINAL: figures[FINAL]} | found).items():
        found[f"{name}{_OF_DOMAIN}{domain}"] = value
    return found


def repeats(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of a group: those of one seed that leave different domains out, together."""
    found: list[list[Run]] = []
    places: dict[tuple[int, str, int], int] = {}
    times: dict[tuple[int, str], int] = {}
    for run in runs:
        known = (run.seed, name_of(run))
        time = times.get(known, 0)
        times[known] = time + 1
        place = places.setdefault((run.seed, "" if run.left_out else "whole", time), len(found))
        if place == len(found):
            found.append([])
        found[place].append(run)
    return found


def over_domains(
    rows: Sequence[Mapping[str, float]], domains: Sequence[str], of: Sequence[str]
) -> dict[str, float]:
    """One row from the rows of runs that leave the `domains` out: means, and the worst domain.

    A single run's row is kept. If the runs are not `of` all domains of the group, means would be
    over others than elsewhere: then only the figures of each domain are kept.
    """
    if len(of) < 2:
        return dict(rows[0])
    found: dict[str, float] = {}
    for row in rows:
        found.update({name: value for name, value in row.items() if _OF_DOMAIN in name})
    if set(domains) != set(of):
        return found
    shared = set(rows[0]).intersection(*rows)
    for name in rows[0]:
        if name in shared and _OF_DOMAIN not in name:
            found[name] = float(np.mean([row[name] for row in rows]))
    found[WORST] = min(row[FINAL] for row in rows)
    if SOURCE_BEST in shared:
        found[SOURCE_BEST_WORST] = min(row[SOURCE_BEST] for row in rows)
    return found


def columns(present: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Key and title of each column of left-out domains, of the keys that are `present`."""
    yield SOURCE_BEST, "source-best"
    yield WORST, "worst domain"
    yield SOURCE_BEST_WORST, "worst domain, source-best"
    for name, how in _FIGURES.items():
        for key in present:
            figure, _, domain = key.partition(_OF_DOMAIN)
            if domain and figure == name:
                yield key, f"{domain}, {how}" if how else domain


def note(domains: Sequence[str]) -> str:
    """What a reader of a table with left-out domains must know."""
    over = ", ".join(domains)
    return (
        f"left-out domains ({over}): each was tested whole by a run that never met it; final, the "
        "last round, and other figures are means over them, each weighing the same; source-best: "
        "at the first round with the best mean accuracy on the domains that train; best is chosen "
        "on the left-out domain itself, an oracle; source domains: the domains that train"
    )
