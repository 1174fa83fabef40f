"""`mpifl plan`: print who trains on what: the partition, domains, held-out samples, own models."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mpifl.algorithms.fedrep import FedRep
from mpifl.plan.dry_run import DryRun, Labels
from mpifl.terminal import average, percent, plural, say_paragraph, say_table, table

_MOST_ROWS = 40  # with more clients, the table shows quantiles
_QUANTILES = {"least": 0, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "most": 100}
_MOST_ROUNDS = 1000  # that are drawn to say how clients differ


def show_partition(planned: DryRun) -> None:
    """Print each client's samples, or their quantiles, and what is special about the clients."""
    _show_samples(planned)
    for paragraph in _paragraphs(planned):
        say_paragraph(paragraph)


def _show_samples(planned: DryRun) -> None:
    """Print a table of the clients' samples, or of their quantiles."""
    data = planned.data
    clients = planned.held.participants
    counts = planned.clients.counts()[clients]
    sizes = planned.clients.sizes[clients]
    largest = 100 * counts.max(1) / np.maximum(sizes, 1)
    steps = planned.clients.steps(clients)
    columns = np.stack([sizes, (counts > 0).sum(1), largest, steps])
    if len(clients) <= _MOST_ROWS:
        head = "client"
        names = [str(client) for client in clients]
        rows = columns.T
    else:
        head = "of the clients"
        names = list(_QUANTILES)
        rows = np.percentile(columns, list(_QUANTILES.values()), axis=1)
    made = table(head, "samples", "classes", "largest class", "steps a round")
    for name, row in zip(names, rows, strict=True):
        of_samples, of_classes, of_largest, of_steps = row
        made.add_row(
            name,
            f"{of_samples:,.0f}",
            f"{of_classes:,.0f}",
            f"{of_largest:.0f} %",
            f"{of_steps:,.0f}",
        )
    title = (
        f"partition: {len(clients):,} clients of {sizes.min():,} to {sizes.max():,} samples, "
        f"median {np.median(sizes):,g}; {sizes.sum():,} of {len(data.labels):,} of {data.name}, "
        f"{data.classes} classes"
    )
    say_table(title, made)


def _paragraphs(planned: DryRun) -> Iterator[str]:
    """What is special about this run's clients, in words."""
    data = planned.data
    config = planned.config
    if data.domains is not None:
        yield _domains(data, data.domains)
    if data.left_out:
        yield _left_out(planned)
    if not config.holdout.is_nothing:
        yield _held_out(planned)
    if not config.heterogeneity.is_nothing:
        yield _differences(planned)
    if config.algorithm.pool is not None:
        yield _pool(planned)
    if config.algorithm.personal:
        yield _own_models(planned)
    if isinstance(config.algorithm, FedRep):
        yield _own_classifiers(config.algorithm)


def _domains(data: Labels, domains: np.ndarray) -> str:
    """How many training samples each domain has, in words."""
    sizes = np.bincount(domains, minlength=len(data.domain_names))
    words = []
    for name, count in zip(data.domain_names, sizes, strict=True):
        if count:
            words.append(f"{name} {count:,}")
    return f"Training samples by domain: {', '.join(words)}. Accuracy is stored by domain."


def _left_out(planned: DryRun) -> str:
    """Which domains never train, what is tested on them, and how long that takes, in words."""
    data = planned.data
    every = _every(planned.config.evaluation.every)
    batches = planned.config.evaluation.batches
    others = [name for name in data.domain_names if name not in data.left_out]
    validated = "there is no validation set, for these have no test images"
    if data.validation:
        validated = (
            f"their {data.validation:,} test images are the validation set "
            f"({plural(batches(data.validation), 'batch', 'batches')})"
        )
    return (
        f"Left out of training and normalisation: {', '.join(data.left_out)}, whose {data.test:,} "
        f"images are the test set ({plural(batches(data.test), 'batch', 'batches')}). "
        f"{', '.join(others)} train; {validated}. Both are evaluated {every}."
    )


def _held_out(planned: DryRun) -> str:
    """What of the partition never trains, in words."""
    held = planned.held
    own = held.own.sizes[held.participants]
    unseen = held.own.sizes[held.unseen]
    words = (
        f"Held out: {own.sum():,} samples of {np.count_nonzero(own):,} of the "
        f"{plural(len(own), 'client')} that train"
    )
    if len(unseen):
        words += (
            f"; {plural(len(unseen), 'client')} that never train, tested on "
            f"{unseen.sum():,} samples"
        )
    batches = planned.config.evaluation.batches(int(held.own.sizes.sum()))
    return (
        f"{words}. They are evaluated with the test set, {_every(planned.config.evaluation.every)} "
        f"({plural(batches, 'batch', 'batches')} more)."
    )


def _every(rounds: int) -> str:
    """How often something is done.

    >>> _every(1), _every(10)
    ('every round', 'every 10 rounds')
    """
    return "every round" if rounds == 1 else f"every {plural(rounds, 'round')}"


def _differences(planned: DryRun) -> str:
    """How many clients are there in the run's rounds, and how much of the work they do."""
    rounds = range(1, min(planned.config.rounds, _MOST_ROUNDS) + 1)
    turns = [planned.timetable.federation.turn(round) for round in rounds]
    there = float(np.mean([turn.there for turn in turns]))
    cohort = float(np.mean([len(turn.cohort) for turn in turns]))
    late = float(np.mean([len(turn.late) for turn in turns]))
    done = sum(int(turn.steps.sum()) for turn in turns)
    full = sum(int(planned.clients.steps(turn.cohort).sum()) for turn in turns)
    share = done / full if full else 0.0
    empty = sum(len(turn.cohort) == 0 for turn in turns)
    words = (
        f"Clients differ (rounds 1 to {len(turns):,}): on average {average(there)} of "
        f"{len(planned.held.participants):,} are there and {average(cohort)} train, on "
        f"{percent(share)} of their full steps"
    )
    if late:
        words += f"; {average(late)} more are too late and left out"
    if empty:
        words += f"; in {plural(empty, 'round')} nobody trains, and the weights stay"
    return f"{words}."


def _pool(planned: DryRun) -> str:
    """What the one client does that has the samples of all."""
    steps = planned.timetable.turn(1).steps.sum()
    return (
        f"One client trains on the {sum(planned.clients.sizes):,} samples of all of these, "
        f"{plural(steps, 'step')} in round 1 (algorithm.budget = {planned.config.algorithm.pool})."
    )


def _own_models(planned: DryRun) -> str:
    """How many models an evaluation is of, where clients have their own."""
    every = _every(planned.config.evaluation.every)
    models = plural(len(planned.held.participants), "model")
    on_which = ""
    if planned.config.algorithm.tests_own_domains and planned.data.domains is not None:
        on_which = ", of these on those of its own domains"
    return (
        f"Each client is tested with its own model: {models} on the {planned.data.test:,} test "
        f"samples{on_which}, {every} (evaluation.every)."
    )


def _own_classifiers(algorithm: FedRep) -> str:
    """What clients do beside the steps that are counted."""
    passes = algorithm.head_epochs
    work = f"for {plural(passes, 'pass', 'passes')}" if passes else "for as many steps"
    return (
        f"FedRep trains each client's classifier before the body, {work} "
        f"(algorithm.head_epochs = {passes}): these steps are not in the tables."
    )
