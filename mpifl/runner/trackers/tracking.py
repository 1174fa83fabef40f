"""A tracker in a run: what fails in it is told once, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable

from mpifl.runner.trackers.base import Tracker
from mpifl.terminal import say
from mpifl.training.callback import Callback, RunUnderway
from mpifl.training.progress import Progress


class Tracking(Callback):
    """The callback of a tracker, until it fails."""

    def __init__(self, tracker: Tracker) -> None:
        self._name = type(tracker).__name__
        self._tracker = tracker
        self._callback = Callback()
        """one that does nothing, before the start and after a failure"""

    def run_started(self, run: RunUnderway) -> None:
        def start() -> None:
            self._callback = self._tracker.callback()
            self._callback.run_started(run)

        self._try(start)

    def round_finished(self, progress: Progress, last: bool) -> None:
        self._try(lambda: self._callback.round_finished(progress, last))

    def round_tested(self, progress: Progress, last: bool) -> None:
        self._try(lambda: self._callback.round_tested(progress, last))

    def run_ended(self, status: str) -> None:
        self._try(lambda: self._callback.run_ended(status))

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._callback = Callback()
            what = " ".join(f"{type(error).__name__}: {error}".split())
            say(
                f"warning: the tracker {self._name} has failed and is left out from now on: "
                f"{what}; the run goes on, and mpifl export can write it later",
                error=True,
            )
