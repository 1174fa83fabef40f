"""One `mpifl run`: from a config to a finished folder, on all ranks of the job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from mpifl.data.dataset import Dataset
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.runner import build, consistency, schema
from mpifl.runner.announce import announce, conclude
from mpifl.runner.callbacks import ConsoleLogger, StoreWriter
from mpifl.runner.checkpoints import Checkpoints, everywhere, start_from
from mpifl.runner.exit_codes import DONE, STOPPED, on_all_ranks
from mpifl.runner.provenance import Facts, Place, place, provenance
from mpifl.runner.ranks import choose_device, shared_data
from mpifl.store import Checkpoint, Entry, Store, Superseded, checkpoint
from mpifl.training import rounds
from mpifl.training.callback import Callback
from mpifl.training.experiment import Experiment
from mpifl.training.progress import Progress


class Target(NamedTuple):
    """Where a run goes, and what may be done with a run that is there."""

    folder: Path | None = None
    """None: runs/NAME"""
    resume: bool = False
    """continue the stopped run in the folder"""
    force: bool = False
    """replace the run in the folder"""


def main(
    path: str,
    assignments: Sequence[str],
    out: Path | None,
    *,
    resume: bool = False,
    force: bool = False,
) -> int:
    """Run the config at `path` with `assignments` applied, and return the exit code."""
    return on_all_ranks(
        lambda communicator: run(communicator, path, assignments, out, resume=resume, force=force)
    )


def run(
    communicator: Communicator,
    path: str,
    assignments: Sequence[str],
    out: Path | None,
    *,
    resume: bool = False,
    force: bool = False,
) -> int:
    """As `main`, on the ranks of a communicator; every rank calls it.

    Only the server's exit code says that the run was stopped: launchers combine those of all ranks.
    """
    target = Target(out, resume, force)
    outcome = play(communicator, lambda: schema.resolve(schema.raw(path, assignments)), target)
    if outcome.progress.stopped and communicator.is_server:
        return STOPPED
    return DONE


class Outcome(NamedTuple):
    """How a run ended, and where it is."""

    progress: Progress
    folder: Path


def play(
    communicator: Communicator,
    read_config: Callable[[], schema.Config],
    target: Target,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Outcome:
    """One run, from reading its config to closing its folder; every rank calls it.

    `callbacks` are told of each round, on rank 0, after the run's own. Raises AgreedBadInput and
    RunFailed on every rank; BadInput, Superseded, Refused and Lost on the rank that they concern.
    """
    patience = 60 * schema.Runtime().patience_minutes  # the config's own is not known yet
    with communicator.heartbeat.listening(patience):
        _refuse_contradiction(target)
        config = _agree_on_config(communicator, read_config)
        dataset = shared_data(config, communicator)
        device = choose_device(config, communicator)
        experiment = _agree_on_experiment(communicator, config, dataset, device)
        places = communicator.gather(place(communicator, device))
        folder = target.folder or Path("runs") / config.name
        opened = _open(communicator, folder, target, config, experiment, dataset, places)
        if opened.store is not None and not quiet:
            announce(config, experiment, dataset, places, opened.found)
        progress = _train(communicator, config, experiment, opened, callbacks, quiet)
        if opened.store is not None:
            opened.store.close("stopped" if progress.stopped else "complete")
            if not quiet:
                conclude(folder, progress)
        return Outcome(progress, folder)


def _refuse_contradiction(target: Target) -> None:
    if target.resume and target.force:
        raise AgreedBadInput("command line: expected --resume or --force; got both")


def _agree_on_config(
    communicator: Communicator, read_config: Callable[[], schema.Config]
) -> schema.Config:
    """The config, once all ranks have found it sound and the same."""
    config = communicator.agree(read_config)
    patience = 60 * config.runtime.patience_minutes
    communicator.heartbeat.expect(config.runtime.grace_seconds, patience)
    consistency.refuse_differences(communicator, consistency.of_config(schema.text(config)))
    return config


def _agree_on_experiment(
    communicator: Communicator, config: schema.Config, dataset: Dataset, device: torch.device
) -> Experiment:
    """The experiment, once all ranks have built the same one."""
    trains = communicator.worker is not None
    experiment = communicator.agree(lambda: build.experiment(config, dataset, device, trains))
    facts = consistency.of_experiment(experiment, dataset)
    consistency.refuse_differences(communicator, facts)
    return experiment


class _Opened(NamedTuple):
    """The run's folder, ready to be written, and the checkpoint that is resumed."""

    folder: Path
    store: Store | None
    """on rank 0; None on the others"""
    check: Callable[[], None]
    """raises Superseded once another writer has taken the folder over"""
    found: Checkpoint | None
    """on every rank; None where the run begins at its first round"""


def _open(
    communicator: Communicator,
    folder: Path,
    target: Target,
    config: schema.Config,
    experiment: Experiment,
    dataset: Dataset,
    places: list[Place] | None,
) -> _Opened:
    """Rank 0 creates the folder, or takes over the one that it resumes; then all ranks know."""

    def create_or_resume() -> tuple[Store, Checkpoint | None] | None:
        if places is None:  # a worker
            return None
        facts = provenance(dataset, places)
        if target.resume and Store.begun(folder):
            return _resume(folder, config, experiment, facts)
        force = target.force or target.resume
        return _create(folder, config, experiment, facts, force), None

    created = communicator.agree(create_or_resume)
    store, found = created or (None, None)
    owner = communicator.bcast(None if store is None else store.owner)
    return _Opened(folder, store, owner.check, everywhere(found, communicator))


def _create(
    folder: Path, config: schema.Config, experiment: Experiment, facts: Facts, force: bool
) -> Store:
    clients = experiment.clients
    return Store.create(
        folder,
        config=schema.text(config),
        seed=config.seed,
        layout=_layout(clients.net),
        clients=config.clients,
        partition=(clients.parts.indices, clients.parts.offsets, clients.counts()),
        provenance=facts,
        force=force,
        commit_seconds=config.results.commit_seconds,
    )


def _resume(
    folder: Path, config: schema.Config, experiment: Experiment, facts: Facts
) -> tuple[Store, Checkpoint | None]:
    """The run's store and its newest checkpoint.

    A writer that is still alive, and stops now, may replace the checkpoint once more: then retry.
    """
    found = checkpoint.latest(folder)
    while True:
        try:
            store = Store.resume(
                folder,
                config=schema.text(config),
                layout=_layout(experiment.clients.net),
                round=_round_of(found),
                provenance=facts,
                commit_seconds=config.results.commit_seconds,
            )
            return store, found
        except BadInput:
            newest = checkpoint.latest(folder)
            if _round_of(newest) == _round_of(found):
                raise
            found = newest


def _layout(net: Net) -> list[Entry]:
    """The flat vectors' table of contents, as the store keeps it."""
    return [Entry(*row) for row in net.layout]


def _round_of(found: Checkpoint | None) -> int:
    return 0 if found is None else found.round


def _train(
    communicator: Communicator,
    config: schema.Config,
    experiment: Experiment,
    opened: _Opened,
    callbacks: Sequence[Callback],
    quiet: bool,
) -> Progress:
    """Play the rounds; a failure is noted in the folder, where that is still possible."""
    store, results = opened.store, config.results
    checkpoints = Checkpoints(
        opened.folder,
        store,
        opened.check,
        results.checkpoint_rounds,
        results.checkpoint_minutes,
        _round_of(opened.found),
    )
    start = start_from(opened.found, experiment, communicator)
    told: list[Callback] = []
    if store is not None:
        start.reached = experiment.evaluation.reached(store.rounds)
        told.append(StoreWriter(store, results.weights_rounds(config.rounds)))
        if not quiet:
            told.append(ConsoleLogger(config.rounds))
        told.extend(callbacks)
    try:
        return rounds.run(experiment, communicator, told, checkpoints, start)
    except BaseException:
        if store is not None:
            with suppress(OSError, Superseded):
                store.close("failed")
        raise
