"""The callbacks of every run: a line a round for the terminal, rows and weights for the store."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import numpy as np

from mpifl.net import digest
from mpifl.runner.live_progress import seconds_left
from mpifl.store import Store
from mpifl.terminal import duration, percent, say, size
from mpifl.training import timeline
from mpifl.training.callback import Callback
from mpifl.training.client_rows import COLUMNS, Column, Failure
from mpifl.training.experiment import Experiment
from mpifl.training.flops import Flops
from mpifl.training.measures import Measures
from mpifl.training.progress import Progress

_OF_CLIENTS = ("loss", "accuracy", "weight", "seconds")
_NAMED = 10  # clients that a line names


class StoreWriter(Callback):
    """Writes each round into the run's folder."""

    def __init__(
        self,
        store: Store,
        experiment: Experiment,
        weights_rounds: Container[int],
        flops: Flops | None = None,
    ) -> None:
        """`weights_rounds`: whose weights are stored, beside the last round and those that keep
        their clients' models. With `flops` each row says what its training took.
        """
        self._store = store
        self._measures = Measures(
            experiment.sets,
            experiment.participants,
            experiment.label_counts(),
            experiment.domain_names,
        )
        self._weights_rounds = weights_rounds
        self._flops = flops
        self._work = experiment.clients.work()

    def round_finished(self, progress: Progress, last: bool) -> None:
        if last or progress.models or progress.round in self._weights_rounds:
            self._write_weights(progress)
        columns = dict(zip(COLUMNS, progress.rows.T, strict=True))
        clients = {name: columns[name] for name in _OF_CLIENTS}
        if columns["failed"].any():
            clients["failed"] = columns["failed"]
        row = _row(progress) | self._measures.columns(progress.tallies)
        if self._flops is not None:
            row["flops"] = self._flops.of_round(self._work, progress.cohort, columns["steps"])
        if not np.isnan(columns["test_accuracy"]).all():
            clients["test_accuracy"] = columns["test_accuracy"]
            row["test_accuracy_clients"] = float(np.nanmean(columns["test_accuracy"]))
        if not np.isnan(columns["own_right_after"]).all():
            for name in ("own_right_before", "own_right_after"):
                clients[name] = columns[name]
            row |= self._measures.of_own_models(progress.cohort, clients)
        ids = progress.cohort
        if progress.there >= 0:
            row["clients_there"] = progress.there
            clients["steps"] = columns["steps"]
            ids, clients = _with_late(ids, clients, progress.late)
        counts = self._measures.arrays(progress.tallies)
        seconds = timeline.stored(progress.spent)
        self._store.append(progress.round, row, clients, ids, counts, seconds)

    def round_tested(self, progress: Progress, last: bool) -> None:
        if last and not self._store.has_weights(progress.round):
            self._write_weights(progress)
        row = _scores(progress) | self._measures.columns(progress.tallies)
        counts = self._measures.arrays(progress.tallies)
        self._store.add_evaluation(progress.round, row, counts)

    def _write_weights(self, progress: Progress) -> None:
        weights, buffers = progress.w.numpy(), progress.buffers.numpy()
        average = None
        if "average" in progress.means:
            average = progress.means["average"].numpy()
        if not progress.models:
            self._store.weights(progress.round, weights, buffers, average=average)
            return
        self._store.weights(
            progress.round,
            weights,
            buffers,
            clients=np.stack([model.weights.numpy() for model in progress.models]),
            client_buffers=np.stack([model.buffers.numpy() for model in progress.models]),
            client_ids=progress.counted,
            average=average,
        )


def _row(progress: Progress) -> dict[str, Any]:
    """A round's row of /rounds."""
    return {
        **progress.figures,
        "sha256": digest(progress.w, progress.buffers),
        **_scores(progress),
    }


def _scores(progress: Progress) -> dict[str, Any]:
    """The part of a round's row that its test has found."""
    row: dict[str, Any] = {}
    if progress.score is not None:
        row["test_accuracy"] = progress.score.accuracy
        row["test_loss"] = progress.score.loss
    for name, score in progress.scores.items():
        row[f"test_accuracy_{name}"] = score.accuracy
        row[f"test_loss_{name}"] = score.loss
    return row


def _with_late(
    ids: np.ndarray, clients: dict[str, np.ndarray], late: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The cohort and its values (k) by name, with the clients that came too late, by number."""
    if not len(late):
        return ids, clients
    values = {"failed": np.zeros(len(ids)), **clients}
    whole = np.concatenate([ids, late])
    order = np.argsort(whole)
    for name, reported in values.items():
        absent = Failure.LATE if name == "failed" else np.nan
        values[name] = np.concatenate([reported, np.full(len(late), float(absent))])[order]
    return whole[order], values


class ConsoleLogger(Callback):
    """Prints a line a round: accuracy, loss, seconds, bytes, and how long the rest will take."""

    def __init__(self, rounds: int, say: Callable[[str], None] = say) -> None:
        self._rounds = rounds
        self._say = say
        self._seconds: list[float] = []

    def round_tested(self, progress: Progress, last: bool) -> None:
        self._say(f"{self._numbered(progress)}  {_tested(progress)}")

    def round_finished(self, progress: Progress, last: bool) -> None:
        figures = progress.figures
        rows = progress.rows
        self._seconds.append(figures["seconds"])
        counts = rows[:, Column.FAILED] == Failure.NONE
        trained = "  nobody took part      "
        if len(rows):
            training_loss = rows[counts, Column.WEIGHT] @ rows[counts, Column.LOSS]
            trained = f"  training loss {training_loss:8.4f}"
        line = f"{self._numbered(progress)}  {_tested(progress)}"
        line += f"{trained}  {figures['seconds']:6.2f} s"
        line += f"  up {size(figures['bytes_up'])}  down {size(figures['bytes_down'])}"
        rounds_left = self._rounds - progress.round
        if rounds_left > 0:
            line += f"  left {duration(seconds_left(self._seconds, rounds_left))}"
        self._say(line)
        for reason, failed in _left_out(progress).items():
            self._say(f"round {progress.round}: left out {failed}: {reason}")

    def _numbered(self, progress: Progress) -> str:
        width = len(str(self._rounds))
        return f"round {progress.round:>{width}}/{self._rounds}"


def _left_out(progress: Progress) -> dict[str, str]:
    """Why clients of the round were left out -> which ones, such as "client 3, 8"."""
    found = {}
    for failure in Failure:
        clients = progress.cohort[progress.rows[:, Column.FAILED] == failure]
        if failure != Failure.NONE and len(clients):
            found[failure.reason] = _named(clients)
    return found


def _named(clients: np.ndarray) -> str:
    """The first ten clients by number, and how many more there are."""
    names = ", ".join(map(str, clients[:_NAMED]))
    more = len(clients) - _NAMED
    return f"client {names}" if more <= 0 else f"client {names} and {more} more"


def _tested(progress: Progress) -> str:
    """The scores of a round, as wide where there are none."""
    if progress.score is None:
        tested = " " * 32
    else:
        tested = f"accuracy {percent(progress.score.accuracy):>8}  loss {progress.score.loss:8.4f}"
    for name, score in progress.scores.items():
        tested += f"  {name} {percent(score.accuracy):>8}"
    return tested
