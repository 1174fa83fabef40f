"""What a run prints before its first round and after its last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import mpifl
from mpifl.data.dataset import Dataset
from mpifl.losses import LOSSES
from mpifl.losses.expression import shortened
from mpifl.net import digest, trained
from mpifl.parallel.mpi import library
from mpifl.runner.idle_workers import idle_workers
from mpifl.runner.provenance import Place, differing_devices
from mpifl.runner.schema import Config
from mpifl.store import OTHERS_TESTED, Run
from mpifl.terminal import facts, percent, say, say_table, size, table
from mpifl.training.experiment import Experiment
from mpifl.training.progress import Progress

_ACCURACIES = {"test_accuracy": "accuracy", **OTHERS_TESTED}


def announce(
    config: Config,
    experiment: Experiment,
    dataset: Dataset,
    places: Sequence[Place] | None,
    notes: Sequence[str],
) -> None:
    """Which rank runs where, what is trained on what, and `notes` about how the run begins."""
    places = places or ()
    columns = ("rank", "role", "host", "device", "threads")
    ranks = table(*columns, texts=4)
    for place in places:
        ranks.add_row(*(str(place[name]) for name in columns))
    say_table(f"mpifl {mpifl.__version__}, {library()}", ranks)

    net = experiment.clients.net
    sizes = experiment.partition.sizes
    train = sizes > 0
    unseen = int((~train).sum())
    never = f", and {unseen} that never train" if unseen else ""
    classes = (experiment.label_counts() > 0).sum(1)[train]
    sizes = sizes[train]
    algorithm = type(config.algorithm).__name__
    loss = shortened(config.local.loss, LOSSES)
    say(
        f"{config.name}: {algorithm}, loss {loss}, {config.model.name} "
        f"({trained(net)}), {dataset.name} ({len(dataset.train):,} training, "
        f"{len(dataset.test):,} test samples)"
    )
    message = f"a message is {size(net.weights.nbytes)}"
    if not config.algorithm.communicates:
        message = "nothing is sent"
    if dataset.left_out:
        others = len(dataset.validation or ())
        say(
            f"left out of training: {', '.join(dataset.left_out)}, the test set; "
            f"{others:,} test samples of the other domains validate"
        )
    say(
        f"{len(sizes)} clients of {sizes.min()} to {sizes.max()} samples and {classes.min()} to "
        f"{classes.max()} of {len(dataset.classes)} classes{never}; {message}"
    )
    if config.init:
        first = digest(net.weights, net.buffers, net.frozen)
        say(f"starts from {config.init} (SHA-256 {first[:16]})")
    if dataset.warning:
        say(f"warning: {dataset.warning}")
    # Where rank 0 alone tests and others train, it matters not that its device is another one.
    alike = places[1:] if config.evaluation.where == "server" else places
    for found in (idle_workers(config, len(places)), differing_devices(alike)):
        if found is not None:
            say(f"note: {found}")
    for note in notes:
        say(note)


def conclude(folder: Path, progress: Progress, goes_on: bool) -> None:
    """How the run went, and what to type next; whether the same command `goes_on` with it."""
    if progress.stopped:
        command = "the same command" if goes_on else "the same command with --resume"
        say(f"stopped by {progress.stopped} after round {progress.round}; to resume: {command}")
        return
    figures = Run.open(folder).rounds
    summary = facts()
    summary.add_row("rounds", str(len(figures["round"])))
    for name, what in _ACCURACIES.items():
        if name in figures:
            summary.add_row(what, _last_and_best(figures["round"], figures[name]))
    summary.add_row("last test loss", f"{figures['test_loss'][-1]:.4f}")
    summary.add_row("seconds", f"{figures['seconds'].sum():.1f}")
    down = size(figures["bytes_down"].sum())
    up = size(figures["bytes_up"].sum())
    summary.add_row("sent to clients, by clients", f"{down}, {up}")
    say_table("", summary)
    say(f"written to {folder}\nnext: mpifl show {folder}")


def _last_and_best(rounds: np.ndarray, accuracy: np.ndarray) -> str:
    best = int(np.nanargmax(accuracy))
    return f"last {percent(accuracy[-1])}, best {percent(accuracy[best])} (round {rounds[best]})"
