"""What every tracker has: options, and a callback that is told of rounds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from mpifl.training.callback import Callback, RunUnderway
from mpifl.training.client_rows import Column, Failure
from mpifl.training.progress import Progress


class Tracker(ABC):
    """Options of a callback that a config names in `callbacks`. Derive from it, with `@options`.

    A tracker that fails does not end the run: it is left out after one warning.
    """

    @abstractmethod
    def callback(self) -> Callback:
        """The callback of one run, or of one resume of it."""

    def check_installed(self) -> None:  # noqa: B027 - many need nothing
        """Raise BadInput that says what to install, where a library is missing.

        It is called on rank 0, before the run's folder is made.
        """


class RowTracker(Callback, ABC):
    """A callback that is given each round as numbers by name. Derive from it, with `log`."""

    def run_started(self, run: RunUnderway) -> None:
        self.run = run

    def round_finished(self, progress: Progress, last: bool) -> None:
        self.log(progress.round, dict(self._numbers()) | training_means(progress))

    def round_tested(self, progress: Progress, last: bool) -> None:
        self.log(progress.round, dict(self._numbers()))

    @abstractmethod
    def log(self, round: int, values: Mapping[str, float]) -> None:
        """A round is complete: its row of /rounds, text and NaN left out, and the training means.

        A round may come twice after a resume: then with the test that the stop had abandoned.
        """

    def _numbers(self) -> Iterator[tuple[str, float]]:
        for name, value in self.run.last_row().items():
            if not isinstance(value, str) and math.isfinite(value):
                yield name, value


def training_means(progress: Progress) -> dict[str, float]:
    """`training_loss` and `training_accuracy`: means over the clients of a round, by weight.

    Empty where nobody's reply counts.
    """
    counts = progress.rows[:, Column.FAILED] == Failure.NONE if len(progress.rows) else []
    if not any(counts):
        return {}
    rows = progress.rows[counts]
    weights = rows[:, Column.WEIGHT]
    return {
        "training_loss": float(weights @ rows[:, Column.LOSS]),
        "training_accuracy": float(weights @ rows[:, Column.ACCURACY]),
    }
