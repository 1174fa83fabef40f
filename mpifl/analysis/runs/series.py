"""The values of a run's quantities by round: columns of /rounds, and what is made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mpifl.analysis.runs.left_out import accuracy_by, domain_accuracy
from mpifl.analysis.runs.quantities import (
    MADE,
    OF_HESSIAN,
    SHORT,
    SINCE,
    column_of,
    measures,
    needed_for,
)
from mpifl.options import BadInput, similar, suggestion
from mpifl.store import Run
from mpifl.store.evaluations import NAMES
from mpifl.terminal import say

_OF_CLASS = re.compile(r"(test|train|own)_accuracy_class_(\d+)", re.ASCII)
_OF_DOMAIN = re.compile(r"((?:test|train|own|source)_)?accuracy_domain_(.+)")
"""names of one class's or domain's accuracy, made of the counts in /evaluations"""


def series(run: Run, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Rounds [n] and values [n] of `quantity` where it is known.

    It is a column of /rounds, a name of quantities.py, or such as test_accuracy_class_3 and
    accuracy_domain_sketch. Raises BadInput where the run has no values.
    """
    values = _column(run, quantity)
    known = np.isfinite(values)
    if not known.any():
        is_evaluated = column_of(quantity) in SHORT.values()
        why = "; it has no evaluation yet" if is_evaluated else ""
        got = f"none in {len(values)} rounds{why}"
        raise BadInput(f"{run.path}: expected values of {quantity}; got {got}")
    return run.rounds["round"][known], values[known]


def has(run: Run, quantity: str) -> bool:
    """Whether `series` has values of it."""
    try:
        series(run, quantity)
    except BadInput:
        return False
    return True


def only_tested(runs: Sequence[Run], quantities: Sequence[str]) -> list[Run]:
    """The runs that may have `quantities`; prints to stderr which others are passed over.

    Those have no round yet, or no test yet and a quantity of tests is wanted. Raises BadInput where
    no run is left.
    """
    found = []
    others = []
    for run in runs:
        if _is_too_young(run, quantities):
            others.append(str(run.path))
        else:
            found.append(run)
    if not found:
        raise BadInput(f"runs: expected one that has been tested; got none yet in {others[0]}")
    if others:
        say(f"passed over, not tested yet: {', '.join(others)}", error=True)
    return found


def _is_too_young(run: Run, quantities: Sequence[str]) -> bool:
    if len(run.rounds["round"]) == 0:
        return True
    wants_test = any(column_of(name).startswith("test_") for name in quantities)
    tested = np.isfinite(run.rounds.get("test_accuracy", np.array([])))
    return wants_test and not tested.any()


def quantities(run: Run) -> list[str]:
    """The quantities of a run that `series` knows."""
    columns = run.rounds.items()
    numbers = [name for name, column in columns if column.dtype.kind in "fi"]
    return [*SHORT, *MADE, *(name for name in numbers if name not in MADE)]


def _column(run: Run, quantity: str) -> np.ndarray:
    quantity = column_of(quantity)
    of_class = _OF_CLASS.fullmatch(quantity)
    if of_class:
        return _of_class(run, of_class[1], int(of_class[2]))
    of_domain = _OF_DOMAIN.fullmatch(quantity)
    if of_domain:
        return _of_domain(run, of_domain[1] or "", of_domain[2])
    if quantity == "bytes":
        return np.cumsum(_known(run, "bytes_up") + _known(run, "bytes_down"))
    if quantity in ("flops", "seconds"):
        return np.cumsum(_known(run, quantity))
    if quantity in MADE:
        return _over_clients(run, quantity.removeprefix("training_"))
    return _known(run, quantity)


def _known(run: Run, name: str) -> np.ndarray:
    """A column of numbers; NaN where the run does not know."""
    if name in OF_HESSIAN:
        raise BadInput(
            f"{run.path}: {name}: expected a quantity of the run itself; got one that `mpifl "
            "hessian` measures; allowed: `mpifl curvature` draws it, `mpifl table` has it"
        )
    if name not in run.rounds or run.rounds[name].dtype.kind not in "fi":
        measured = needed_for(name) if name in measures() else ""
        why = f"; runs with {measured} measure it" if measured else ""
        if name in SINCE:
            why = f"; runs of mpifl {SINCE[name]} and later store it"
        meant = ";"
        if name not in measures() and name not in SINCE:
            meant = similar(name, [*quantities(run), *measures()]) or ";"
        allowed = ", ".join(quantities(run))
        raise BadInput(f"{run.path}: {name}: unknown quantity{why}{meant} allowed: {allowed}")
    column = run.rounds[name]
    unknown = column < 0 if column.dtype.kind == "i" else np.isnan(column)
    return np.where(unknown, np.nan, column)


def _of_class(run: Run, name: str, label: int) -> np.ndarray:
    """The accuracy of a class on the set `name` (test, train, own) by round; NaN between them."""
    rounds, accuracy = class_accuracy(run, name)
    if label >= accuracy.shape[1]:
        raise BadInput(
            f"{run.path}: {name}_accuracy_class_{label}: expected a class below "
            f"{accuracy.shape[1]}, their number; got {label}"
        )
    return _at_all_rounds(run, rounds, accuracy[:, label])


def _of_domain(run: Run, prefix: str, domain: str) -> np.ndarray:
    """The accuracy of a domain by round; NaN between evaluations.

    On the set of the `prefix`, such as `own_`; without one on the test set, or on the validation
    set if the domain is none of the test's.
    """
    names = run.evaluations.get(NAMES, np.zeros(0, object)).tolist()
    if domain not in names:
        raise BadInput(
            f"{run.path}: {prefix}accuracy_domain_{domain}: expected a domain of the data; got "
            f"{domain!r}{suggestion(domain, names)}"
        )
    place = names.index(domain)
    name = prefix.removesuffix("_") or "test"
    if not prefix and not run.evaluations["test_samples_by_domain"][place]:
        name = "source"
    rounds, accuracy = domain_accuracy(run, name)
    return _at_all_rounds(run, rounds, accuracy[:, place])


def _at_all_rounds(run: Run, rounds: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values at `rounds`, laid out over all rounds of the run; NaN between."""
    by_round = dict(zip(rounds.tolist(), values.tolist(), strict=True))
    return np.array([by_round.get(round, np.nan) for round in run.rounds["round"].tolist()])


def class_accuracy(run: Run, name: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Rounds [E], and accuracy [E, K] of each class on the set `name` (test, train, own).

    NaN for classes without samples. Raises BadInput where the run has not counted it.
    """
    return accuracy_by(run, name, "class", "it was not evaluated yet, or by an older mpifl")


def _over_clients(run: Run, name: str) -> np.ndarray:
    """The mean over each round's clients, weighted as their replies were."""
    if not {name, "weight"} <= set(run.clients):
        expected = f"/clients/{name} and /clients/weight"
        raise BadInput(f"{run.path}: expected {expected}; got {', '.join(run.clients)}")
    weight = np.nan_to_num(run.clients["weight"].astype("f8"))
    took_part = weight > 0
    value = np.where(took_part, run.clients[name], 0).astype("f8")
    return (weight * value).sum(1) / np.where(took_part.any(1), weight.sum(1), np.nan)
