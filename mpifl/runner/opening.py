"""Open the folder of a run: create it, or take over the stopped run in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import NamedTuple

from mpifl.data.dataset import Dataset
from mpifl.options import BadInput
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.runner import schema, stored_plugins
from mpifl.runner.checkpoints import everywhere
from mpifl.runner.provenance import Facts, Place, provenance
from mpifl.runner.resuming import (
    differences,
    mark_of,
    other_plugins,
    other_schedule,
    refusal,
)
from mpifl.store import (
    Checkpoint,
    Partition,
    Run,
    Store,
    checkpoint,
    compatibility,
    edited_results,
    lost_results,
    run_folder,
    watching,
)
from mpifl.training.experiment import Experiment


class Target(NamedTuple):
    """Where a run goes, and what may be done with a run that is there."""

    folder: Path | None = None
    """None: runs/NAME"""
    resume: bool = False
    """continue the stopped run in the folder"""
    or_start: bool = False
    """with `resume`: begin a new run where there is nothing to resume"""
    force: bool = False
    """replace the run in the folder"""
    allow_other_schedule: bool = False
    """with `resume`: continue although the rounds so far had another schedule, and mark the run"""
    allow_other_plugins: bool = False
    """with `resume`: continue although the rounds so far had other plugins, and mark the run"""


class Opened(NamedTuple):
    """The run's folder, ready to be written, and the checkpoint that is resumed."""

    folder: Path
    store: Store | None
    """on rank 0; None on the others"""
    check: Callable[[], None]
    """raises Superseded once another writer has taken the folder over"""
    found: Checkpoint | None
    """on every rank; None where the run begins at its first round"""
    notes: list[str]
    """on rank 0: lines for the user about how the run begins"""


class _Taken(NamedTuple):
    """What rank 0 has made of the folder."""

    store: Store
    found: Checkpoint | None
    notes: list[str]


def refuse_contradiction(target: Target) -> None:
    """Raise AgreedBadInput for options of the command line that contradict each other."""
    if target.resume and target.force:
        raise AgreedBadInput("command line: expected --resume or --force; got both")


def open_folder(
    communicator: Communicator,
    folder: Path,
    target: Target,
    config: schema.Config,
    experiment: Experiment,
    dataset: Dataset,
    places: list[Place] | None,
) -> Opened:
    """Rank 0 creates the folder, or takes over the one that it resumes; then all ranks know.

    `places` is None on the other ranks. Raises BadInput on all ranks.
    """

    def create_or_resume() -> _Taken | None:
        if places is None:  # a worker
            return None
        facts = provenance(dataset, experiment.clients.net, places)
        other = _other_writer(folder)
        if not target.resume:
            taken = _create(folder, config, experiment, facts, target.force)
        elif run_folder.begun(folder):
            taken = _resume(folder, config, experiment, facts, target)
        else:
            taken = _create_instead(folder, config, experiment, facts, target.or_start)
        if other is not None:
            taken.notes.append(
                f"note: process {other.process} on {other.host} was writing {folder} and has not "
                "ended: it stops as soon as it finds its folder taken over"
            )
        return taken

    taken = communicator.agree(create_or_resume)
    owner = communicator.bcast(None if taken is None else taken.store.owner)
    found = everywhere(None if taken is None else taken.found, communicator)
    if taken is None:
        return Opened(folder, None, owner.check, found, [])
    return Opened(folder, taken.store, owner.check, found, taken.notes)


def _other_writer(folder: Path) -> watching.Writer | None:
    """Another process of this host that trains the run in the folder, if one is known."""
    writer = watching.writer_here(folder)
    if writer is None or not writer.is_alive or writer.process == os.getpid():
        return None
    try:
        ended = watching.RunWatch(folder, patience=inf).look().ended
    except BadInput:  # a damaged run is told where it is opened
        return None
    return None if ended else writer


def round_of(found: Checkpoint | None) -> int:
    """The round after which the run goes on; 0 without a checkpoint."""
    return 0 if found is None else found.round


def _create(
    folder: Path, config: schema.Config, experiment: Experiment, facts: Facts, force: bool
) -> _Taken:
    store = Store.create(
        folder,
        config=schema.text(config),
        seed=config.seed,
        layout=experiment.clients.net.layout,
        clients=config.clients,
        partition=_partition(experiment),
        holdout=experiment.holdout(),
        plugins=stored_plugins.of_config(config),
        provenance=facts,
        force=force,
        commit_seconds=config.results.commit_seconds,
    )
    _store_start(store, experiment)
    return _Taken(store, None, [])


def _create_instead(
    folder: Path, config: schema.Config, experiment: Experiment, facts: Facts, or_start: bool
) -> _Taken:
    """Begin a run where there is nothing to resume, if that is wanted.

    It always is where a run was killed before it stored anything.
    """
    was_killed = run_folder.is_run(folder)
    if not or_start and not was_killed:
        raise BadInput(
            f"{folder}: expected a run to resume; got none there; allowed: the run's own --out, "
            "no --resume to begin a run there, or --resume-or-start"
        )
    taken = _create(folder, config, experiment, facts, force=was_killed)
    taken.notes.append(f"nothing to resume at {folder}, starting")
    return taken


def _resume(
    folder: Path,
    config: schema.Config,
    experiment: Experiment,
    facts: Facts,
    target: Target,
) -> _Taken:
    """The run's store and its newest checkpoint.

    A writer that is still alive, and stops now, may replace the checkpoint once more: then retry.
    """
    found = checkpoint.latest(folder)
    accepted = ""
    if found is not None:
        accepted = edited_results.accept(folder, found, schema.text(config))
        accepted = accepted or lost_results.begin_anew(
            folder,
            found,
            config=schema.text(config),
            seed=config.seed,
            layout=experiment.clients.net.layout,
            partition=_partition(experiment),
            holdout=experiment.holdout(),
            provenance=facts,
            rounds=config.rounds,
            plugins=stored_plugins.of_config(config),
        )
    while True:
        try:
            taken = _take_over(folder, found, config, experiment, facts, target)
            if accepted:
                taken.notes.insert(0, accepted)
            return taken
        except BadInput:
            newest = checkpoint.latest(folder)
            if round_of(newest) == round_of(found):
                raise
            found = newest


def _take_over(
    folder: Path,
    found: Checkpoint | None,
    config: schema.Config,
    experiment: Experiment,
    facts: Facts,
    target: Target,
) -> _Taken:
    round = round_of(found)
    stored = Run.open(folder)
    compatibility.check_same(str(folder), stored.config, schema.text(config))
    mark = other_schedule(stored, config, round)
    if mark.text and mark.text != mark_of(stored).text and not target.allow_other_schedule:
        raise BadInput(refusal(stored, config, round))
    code = stored_plugins.of_config(config)
    if round > 0 and not target.allow_other_plugins:
        stored_plugins.refuse_difference(stored, code)
    mark = mark._replace(plugins=other_plugins(stored, code, round))
    known = differences(stored, facts, round)  # of the files as they are now
    store = Store.resume(
        folder,
        config=schema.text(config),
        layout=experiment.clients.net.layout,
        partition=_partition(experiment),
        round=round,
        provenance=facts,
        marks=mark.attributes(),
        plugins=code,
        commit_seconds=config.results.commit_seconds,
    )
    _store_start(store, experiment)
    notes = []
    if found is None:
        notes.append(f"{folder} has no checkpoint yet: beginning at round 1")
    else:
        if found.warning:
            notes.append(found.warning)
        notes.append(f"resuming after round {round}")
    notes += known
    if mark.in_words:
        notes.append(f"resumed {mark.in_words}: no repeat of a run that was never stopped")
    return _Taken(store, found, notes)


def _store_start(store: Store, experiment: Experiment) -> None:
    """Store the first weights as round 0, if the run has to keep them and does not have them."""
    if not experiment.stores_start or 0 in store.saved_rounds:
        return
    net = experiment.clients.net
    frozen = net.frozen.cpu().numpy() if len(net.frozen) else None
    store.weights(0, net.weights.cpu().numpy(), net.buffers.cpu().numpy(), frozen=frozen)
    store.commit()


def _partition(experiment: Experiment) -> Partition:
    parts = experiment.partition
    return Partition(parts.indices, parts.offsets, experiment.label_counts())
