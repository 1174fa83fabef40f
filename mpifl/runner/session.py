"""One `mpifl run`: from a config to a finished folder, on all ranks of the job."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import mpifl
from mpifl.options import BadInput
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.parallel.mpi import library
from mpifl.runner import build, consistency, schema
from mpifl.runner.callbacks import ConsoleLogger, StoreWriter
from mpifl.runner.checkpoints import Checkpoints, everywhere, start_from
from mpifl.runner.exit_codes import DONE, STOPPED, on_all_ranks
from mpifl.runner.provenance import place, provenance
from mpifl.store import OTHERS_TESTED, Checkpoint, Run, Store, Superseded, checkpoint
from mpifl.terminal import facts, say, say_table, size, table
from mpifl.training import rounds
from mpifl.training.callback import Callback
from mpifl.training.experiment import Experiment
from mpifl.training.progress import Progress

_TESTED = {"test_accuracy": "accuracy", **OTHERS_TESTED}


def main(
    path: str,
    assignments: Sequence[str],
    out: Path | None,
    *,
    resume: bool = False,
    force: bool = False,
) -> int:
    """Run and return the exit code."""
    return on_all_ranks(
        lambda communicator: run(communicator, path, assignments, out, resume, force)
    )


def run(
    communicator: Communicator,
    path: str,
    assignments: Sequence[str],
    out: Path | None,
    resume: bool,
    force: bool,
) -> int:
    """The exit code; every rank of `federation` calls it."""
    # the config is to be read yet
    with communicator.heartbeat.listening(60 * schema.Runtime().patience_minutes):
        return _run(communicator, path, assignments, out, resume, force)


def _run(
    communicator: Communicator,
    path: str,
    assignments: Sequence[str],
    out: Path | None,
    resume: bool,
    force: bool,
) -> int:
    if resume and force:
        raise AgreedBadInput("command line: expected --resume or --force; got both")
    config = communicator.agree(lambda: schema.resolve(schema.raw(path, assignments)))
    communicator.heartbeat.expect(
        config.runtime.grace_seconds, 60 * config.runtime.patience_minutes
    )
    consistency.refuse_differences(communicator, consistency.of_config(schema.text(config)))
    dataset = build.shared_data(config.data, config.seed, communicator)
    device = build.place(config, communicator)
    trains = communicator.worker is not None
    x = communicator.agree(lambda: build.experiment(config, dataset, device, trains))
    consistency.refuse_differences(communicator, consistency.of_experiment(x, dataset))
    places = communicator.gather(place(communicator, device))
    folder = out or Path("runs") / config.name
    opened = communicator.agree(
        lambda: _open(folder, config, x, dataset, places, resume, force) if places else None
    )
    store, found = opened or (None, None)
    found, owner = everywhere(found, communicator), communicator.bcast(store and store.owner)
    callbacks: list[Callback] = []
    if store:
        _announce(config, x, dataset, places)
        if found:
            say(found.warning + "\n" * bool(found.warning) + f"going on after round {found.round}")
        callbacks = [
            StoreWriter(store, config.results.weights_rounds(config.rounds)),
            ConsoleLogger(config.rounds),
        ]
    every, minutes = config.results.checkpoint_rounds, config.results.checkpoint_minutes
    keeper = Checkpoints(folder, store, owner.check, every, minutes, found.round if found else 0)
    start = start_from(found, x, communicator)
    start.reached = x.evaluation.reached(store.rounds) if store else 0
    try:
        progress = rounds.run(x, communicator, callbacks, keeper, start)
    except BaseException:
        if store:
            _close_failed(store)
        raise
    return _conclude(store, progress) if store else DONE


def _open(
    folder: Path,
    config: schema.Config,
    x: Experiment,
    dataset,
    places: list[dict],
    resume: bool,
    force: bool,
) -> tuple[Store, Checkpoint | None]:
    """The run's store, new or gone on with, and the checkpoint to go on from."""
    given = {
        "config": schema.text(config),
        "layout": x.clients.net.layout,
        "provenance": provenance(dataset, places),
    }
    if resume and Store.begun(folder):
        return _go_on(folder, {**given, "commit_seconds": config.results.commit_seconds})
    parts = x.clients.parts
    store = Store.create(
        folder,
        seed=config.seed,
        clients=config.clients,
        partition=(parts.indices, parts.offsets, x.clients.counts()),
        force=force or resume,
        commit_seconds=config.results.commit_seconds,
        **given,
    )
    return store, None


def _go_on(folder: Path, given: dict[str, Any]) -> tuple[Store, Checkpoint | None]:
    """The run's store and its newest checkpoint, which a live writer, who stops now, may have
    pruned and replaced.
    """
    found = checkpoint.latest(folder)
    while True:
        try:
            return Store.resume(folder, round=found.round if found else 0, **given), found
        except BadInput:
            before, found = found, checkpoint.latest(folder)
            if (before and before.round) == (found and found.round):
                raise


def _close_failed(store: Store) -> None:
    """Say in the folder that the run failed, where that is still possible; the failure itself is
    told elsewhere.
    """
    with suppress(OSError, Superseded):
        store.close("failed")


def _announce(config: schema.Config, x: Experiment, dataset, places: list[dict[str, Any]]) -> None:
    net, sizes, classes = x.clients.net, x.clients.sizes, (x.clients.counts() > 0).sum(1)
    ranks = table(*places[0], texts=4)
    for row in places:
        ranks.add_row(*map(str, row.values()))
    say_table(f"mpifl {mpifl.__version__}, {library()}", ranks)
    say(
        f"{config.name}: {type(config.algorithm).__name__}, loss {config.local.loss}, {config.model.name} "
        f"({len(net.weights):,} parameters), {dataset.name} ({len(dataset.train):,} training, "
        f"{len(dataset.test):,} test samples)\n{len(sizes)} clients of {sizes.min()} to {sizes.max()} samples and "
        f"{classes.min()} to {classes.max()} of {len(dataset.classes)} classes; a message is {size(net.weights.nbytes)}"
    )


def _conclude(store: Store, progress: Progress) -> int:
    """Close the folder, say how it went and what to type next; the exit code."""
    folder = store.folder
    if progress.stopped:
        store.close("stopped")
        say(
            f"stopped by {progress.stopped} after round {progress.round}; to go on: the same command with --resume"
        )
        return STOPPED
    store.close("complete")
    run = Run.open(folder)
    figures, made = run.rounds, facts()
    made.add_row("rounds", str(len(figures["round"])))
    for what, accuracy in (
        (what, figures[name]) for name, what in _TESTED.items() if name in figures
    ):
        best = int(np.nanargmax(accuracy))
        made.add_row(
            what,
            f"last {accuracy[-1]:.2%}, best {accuracy[best]:.2%} (round {figures['round'][best]})",
        )
    made.add_row("last test loss", f"{figures['test_loss'][-1]:.4f}")
    made.add_row("seconds", f"{figures['seconds'].sum():.1f}")
    sent = (size(figures[f"bytes_{way}"].sum()) for way in ("down", "up"))
    made.add_row("sent to clients, by clients", ", ".join(sent))
    say_table("", made)
    say(f"written to {folder}\nnext: mpifl show {folder}")
    return DONE
