"""How far a run is and what it has reached, in the lines of `mpifl show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mpifl.analysis.runs import curvature_shown, left_out
from mpifl.analysis.runs.columns import evaluated, known
from mpifl.analysis.runs.quantities import GENERALISATION
from mpifl.options import BadInput
from mpifl.store import OTHERS_TESTED, Run
from mpifl.store.measurements import Findings
from mpifl.terminal import percent, plural

_LATE = 3  # in /clients/failed


def lines(run: Run, stored: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Rounds, accuracies, what other commands have measured, and what became of clients.

    `stored` is the run's config.
    """
    yield "rounds", _rounds(run, stored)
    if run.resumed_otherwise:
        yield "resumed", f"{run.resumed_otherwise}: no repeat of a run that was never stopped"
    yield "test accuracy", _accuracy(run)
    for name, what in OTHERS_TESTED.items():
        values = known(run, name)
        if len(values):
            yield what, f"best {percent(values.max())}, last {percent(values[-1])}"
    for name, what in GENERALISATION.items():
        values = known(run, name)
        if len(values):
            yield what, f"last {percent(values[-1])}"
    yield from _by_domain(run)
    yield from _skewed(run)
    yield from _measured(run)
    yield from _failed(run)
    if "clients_there" in run.rounds:
        yield "clients differ", ", ".join(_differences(run))


def _rounds(run: Run, stored: dict[str, Any]) -> str:
    done = len(run.rounds["round"])
    if "rounds" in stored:
        return f"{done} of {stored['rounds']}"
    return str(done)


def _accuracy(run: Run) -> str:
    rounds, accuracy = evaluated(run)
    if not len(rounds):
        return "not evaluated yet"
    best = int(accuracy.argmax())
    return (
        f"best {percent(accuracy[best])} (round {rounds[best]}), "
        f"last {percent(accuracy[-1])} (round {rounds[-1]})"
    )


def _failed(run: Run) -> Iterator[tuple[str, str]]:
    """How many replies were left out for what was in them, not for being late."""
    if "failed" not in run.clients:
        return
    failed = (run.clients["failed"] > 0) & (run.clients["failed"] != _LATE)
    if failed.any():
        replies = plural(int(failed.sum()), "reply", "replies")
        rounds = plural(int(failed.any(axis=1).sum()), "round")
        yield "left out", f"{replies} in {rounds}"


def _differences(run: Run) -> Iterator[str]:
    """What became of clients that were away, slow or too late."""
    there = run.rounds["clients_there"]
    trains = int(run.trains.sum())
    yield f"on average {there.mean():.3g} of {trains} there"
    if "steps" in run.clients:
        steps = run.clients["steps"]
        steps = steps[np.isfinite(steps)]
        if steps.size:  # not where nobody ever took part
            yield f"{steps.min():,.0f} to {steps.max():,.0f} steps a round, mean {steps.mean():.3g}"
    if "failed" in run.clients:
        late = int((run.clients["failed"] == _LATE).sum())
        if late:
            yield f"{plural(late, 'reply', 'replies')} too late and left out"
    empty = int((run.clients["participated"].sum(1) == 0).sum())
    if empty:
        yield f"nobody in {plural(empty, 'round')}"


def _by_domain(run: Run) -> Iterator[tuple[str, str]]:
    """Which domains are left out, and the last accuracy of each domain."""
    best = left_out.source_best(run)
    if run.left_out:
        words = f"{', '.join(run.left_out)}: the test set; the others train"
        if best is not None:
            words += f"; at the source-best round {best.round}: {percent(best.accuracy)}"
        yield "domains left out", words
    titles = {"test": "test accuracy by domain", "source": "of domains that train"}
    for name, accuracies in left_out.last_by_domain(run).items():
        yield titles[name], ", ".join(f"{d} {percent(value)}" for d, value in accuracies.items())


def _skewed(run: Run) -> Iterator[tuple[str, str]]:
    """The test accuracy with the classes as frequent as clients have them, where these differ."""
    accuracies = known(run, "skewed_accuracy")
    shares = run.label_counts[run.trains] / run.label_counts[run.trains].sum(1, keepdims=True)
    if not len(accuracies) or np.ptp(shares, axis=0).max() == 0:
        return
    worst = known(run, "skewed_accuracy_worst_tenth")
    words = f"last {percent(accuracies[-1])}, worst tenth {percent(worst[-1])}"
    mass = float(np.nanmin(run.rounds.get("skewed_mass", np.ones(1))))
    if mass < 1 - 1e-9:  # the test set lacks classes that clients have
        words += f"; it has the classes of at least {percent(mass)} of a client's labels"
    yield "test set, own classes", words


def _measured(run: Run) -> Iterator[tuple[str, str]]:
    """What `mpifl finetune` and `mpifl hessian` have found."""
    try:
        findings = Findings.open(run)
    except BadInput:  # `mpifl hessian` and `finetune` say what is wrong with the file
        return
    yield from _fine_tuned(findings)
    yield from curvature_shown.lines(findings)


def _fine_tuned(findings: Findings) -> Iterator[tuple[str, str]]:
    """For the clients that trained: on their own test sets, or else with their own classes."""
    for path, finding in findings.found.items():
        name, round, *rest = path.split("/")
        if rest != ["global", "fine_tuning"]:
            continue
        tuned = (finding["trains"] > 0) & (finding["steps"] > 0)
        own = tuned & (finding["own_samples"] > 0)
        where = "own test sets"
        before = finding["own_before"][own] / finding["own_samples"][own]
        after = finding["own_after"][own] / finding["own_samples"][own]
        if not own.any():
            where = "test set, own classes"
            before = finding["skewed_before"][tuned]
            after = finding["skewed_after"][tuned]
        means = f"{percent(float(np.nanmean(before)))} -> {percent(float(np.nanmean(after)))}"
        yield f"fine-tuned ({name})", f"{where}: {means} (round {int(round[6:])})"
