"""One `mpifl run`: from a config to a finished folder, on all ranks of the job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from mpifl.data.dataset import Dataset
from mpifl.parallel.communicator import Communicator
from mpifl.runner import build, consistency, factories, plugin_record, plugins, schema
from mpifl.runner.announce import announce, conclude
from mpifl.runner.callbacks import ConsoleLogger, StoreWriter
from mpifl.runner.checkpoints import Checkpoints, start_from
from mpifl.runner.exit_codes import DONE, STOPPED, on_all_ranks
from mpifl.runner.live_progress import LiveProgress
from mpifl.runner.opening import Opened, Target, open_folder, refuse_contradiction, round_of
from mpifl.runner.provenance import place
from mpifl.runner.ranks import choose_device, shared_data
from mpifl.runner.sections import Runtime
from mpifl.runner.trackers import Tracker
from mpifl.runner.trackers.tracking import Tracking
from mpifl.store import Store, Superseded
from mpifl.terminal.live_line import live_line
from mpifl.training import flops, rounds
from mpifl.training.callback import Callback, RunUnderway
from mpifl.training.evaluate import lacks_test
from mpifl.training.experiment import Experiment
from mpifl.training.progress import Progress


def main(path: str, assignments: Sequence[str], target: Target) -> int:
    """Run the config at `path` with `assignments` applied, and return the exit code."""
    return on_all_ranks(lambda communicator: run(communicator, path, assignments, target))


def run(communicator: Communicator, path: str, assignments: Sequence[str], target: Target) -> int:
    """As `main`, on the ranks of a communicator; every rank calls it.

    Only the server's exit code says that the run was stopped: launchers combine those of all ranks.
    """
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
    callbacks: Sequence[Callback | Tracker] = (),
    quiet: bool = False,
) -> Outcome:
    """One run, from reading its config to closing its folder; every rank calls it.

    `callbacks` are told of each round, on rank 0, after the run's own. Raises AgreedBadInput and
    RunFailed on every rank; BadInput, Superseded, Refused and Lost on the rank that they concern.
    """
    patience = 60 * Runtime().patience_minutes  # the config's own is not known yet
    with communicator.heartbeat.listening(patience):
        refuse_contradiction(target)
        config = _agree_on_config(communicator, read_config)
        with communicator.heartbeat.slow():
            dataset = shared_data(config, communicator)
            device = choose_device(config, communicator)
            trackers = [*config.callbacks, *(one for one in callbacks if isinstance(one, Tracker))]
            experiment = _agree_on_experiment(communicator, config, dataset, device, trackers)
            places = communicator.gather(place(communicator, device))
            folder = target.folder or Path("runs") / config.name
            opened = open_folder(communicator, folder, target, config, experiment, dataset, places)
            if opened.store is not None:
                opened.notes.extend(_remembered(config))
            if opened.store is not None and not quiet:
                announce(config, experiment, dataset, places, opened.notes)
            progress = _train(communicator, config, experiment, opened, callbacks, quiet)
            if opened.store is not None and not quiet:
                conclude(folder, progress, goes_on=target.resume)
            return Outcome(progress, folder)


def _remembered(config: schema.Config) -> list[str]:
    """Note that the user trains with these plugins; what to tell the user where it is not noted."""
    used = [plugin for plugin in plugins.in_use() if plugin.sha256]
    problem = plugin_record.remember([*used, *factories.used(config.model)])
    if not problem:
        return []
    return [
        f"note: {problem}: that you train with these plugins is not noted, so commands that build "
        "the model again will ask for --plugin FILE"
    ]


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
    communicator: Communicator,
    config: schema.Config,
    dataset: Dataset,
    device: torch.device,
    trackers: Sequence[Tracker],
) -> Experiment:
    """The experiment, once all ranks have built the same one, and rank 0 has what trackers need."""
    trains = communicator.worker is not None

    def make() -> Experiment:
        if communicator.is_server:
            for tracker in trackers:
                tracker.check_installed()
        return build.experiment(config, dataset, device, trains)

    experiment = communicator.agree(make)
    facts = consistency.of_experiment(experiment, dataset)
    consistency.refuse_differences(communicator, facts)
    return experiment


def _train(
    communicator: Communicator,
    config: schema.Config,
    experiment: Experiment,
    opened: Opened,
    callbacks: Sequence[Callback | Tracker],
    quiet: bool,
) -> Progress:
    """Play the rounds; a failure is noted in the folder, where that is still possible."""
    store = opened.store
    results = config.results
    checkpoints = Checkpoints(
        opened.folder,
        store,
        opened.check,
        results.checkpoint_rounds,
        results.checkpoint_minutes,
        round_of(opened.found),
    )
    start = start_from(opened.found, experiment, communicator)
    told: list[Callback] = []
    live = LiveProgress(config.rounds, start.progress.round)
    if store is not None:
        start.reached = experiment.evaluation.reached(store.rounds)
        start.is_tested = not lacks_test(store.rounds, start.progress.round)
    try:
        if store is not None:
            counted = _counted(experiment)
            if counted is not None:
                store.describe(counted.attributes(len(experiment.clients.net.weights)))
            kept = results.weights_rounds(config.rounds)
            told.append(StoreWriter(store, experiment, kept, counted))
            if not quiet:
                told += [live, ConsoleLogger(config.rounds)]
            for given in (*config.callbacks, *callbacks):
                told.append(Tracking(given) if isinstance(given, Tracker) else given)
            _tell_start(told, opened.folder, config, store, start.progress.round)
        with live_line(live.text, shown=live in told):
            progress = rounds.run(experiment, communicator, told, checkpoints, start)
    except BaseException as error:
        plugins.name_place(error)
        if store is not None:
            with suppress(OSError, Superseded):
                store.close("failed")
            for callback in told:
                with suppress(Exception):  # what ended the run is told
                    callback.run_ended("failed")
        raise
    if store is not None:
        status = "stopped" if progress.stopped else "complete"
        store.close(status)
        for callback in told:
            callback.run_ended(status)
    return progress


def _counted(experiment: Experiment) -> flops.Flops | None:
    """The cost of a step; None where it fails, because training then fails too, and says where."""
    try:
        return flops.count(experiment.clients)
    except Exception:
        return None


def _tell_start(
    told: Sequence[Callback], folder: Path, config: schema.Config, store: Store, round: int
) -> None:
    underway = RunUnderway(
        folder, config.name, store.run_id, schema.text(config), round, store.last_row
    )
    for callback in told:
        callback.run_started(underway)
