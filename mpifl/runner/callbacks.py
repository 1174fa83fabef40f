"""What is told of a run while it goes on: a line a round for the terminal, rows and weights for the
store.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

import numpy as np

from mpifl.net import digest
from mpifl.store import Store
from mpifl.terminal import duration, say, size
from mpifl.training.client import COLUMNS
from mpifl.training.experiment import Callback, Progress


class Both(Callback):
    """Several watchers as one."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = list(callbacks)

    def finished(self, progress: Progress, last: bool) -> None:
        for callback in self.callbacks:
            callback.finished(progress, last)


class StoreWriter(Callback):
    """Writes each round into the run's folder."""

    def __init__(self, store: Store, keep: Container[int]) -> None:
        """`keep`: the rounds whose weights are stored, besides the last and those whose clients'
        are.
        """
        self.store, self.keep = store, keep

    def finished(self, progress: Progress, last: bool) -> None:
        if last or progress.models or progress.round in self.keep:
            self._weights(progress)
        row = {**progress.figures, "sha256": digest(progress.w, progress.buffers)}
        if progress.score:
            row |= {"test_accuracy": progress.score.accuracy, "test_loss": progress.score.loss}
        for name, scored in progress.scores.items():
            row |= {f"test_accuracy_{name}": scored.accuracy, f"test_loss_{name}": scored.loss}
        rows, tested = dict(zip(COLUMNS, progress.rows.T, strict=True)), ()
        if not np.isnan(rows["test_accuracy"]).all():
            tested = ("test_accuracy",)
            row["test_accuracy_clients"] = float(np.nanmean(rows["test_accuracy"]))
        clients = {name: rows[name] for name in ("loss", "accuracy", "weight", "seconds", *tested)}
        self.store.append(progress.round, row, clients, progress.cohort)

    def _weights(self, progress: Progress) -> None:
        clients = {}
        if progress.models:
            models, buffers = (np.stack(vectors) for vectors in zip(*progress.models, strict=True))
            clients = {"clients": models, "client_buffers": buffers, "client_ids": progress.cohort}
        self.store.weights(progress.round, progress.w.numpy(), progress.buffers.numpy(), **clients)


class ConsoleLogger(Callback):
    """A line a round: round, accuracy, loss, seconds, bytes, and how long the rest will take."""

    def __init__(self, rounds: int, say: Callable[[str], None] = say) -> None:
        self.rounds, self.say = rounds, say
        self.seconds: list[float] = []

    def finished(self, progress: Progress, last: bool) -> None:
        figures, score = progress.figures, progress.score
        self.seconds.append(figures["seconds"])
        loss = progress.rows[:, COLUMNS.index("weight")] @ progress.rows[:, COLUMNS.index("loss")]
        left = float(np.median(self.seconds[-20:])) * (self.rounds - progress.round)
        tested = f"accuracy {score.accuracy:7.2%}  loss {score.loss:8.4f}" if score else " " * 31
        others = "".join(
            f"  {name} {scored.accuracy:7.2%}" for name, scored in progress.scores.items()
        )
        number = f"{progress.round:>{len(str(self.rounds))}}/{self.rounds}"
        self.say(
            f"round {number}  {tested}{others}  training loss {loss:8.4f}  "
            f"{figures['seconds']:6.2f} s  up {size(figures['bytes_up'])}  down {size(figures['bytes_down'])}"
            + (f"  left {duration(left)}" if progress.round < self.rounds else "")
        )
