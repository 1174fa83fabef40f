"""TensorBoard: each round as scalars, in event files below RUN/tensorboard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mpifl.config import expanded
from mpifl.options import options
from mpifl.runner.event_file import EventFile, check_installed
from mpifl.runner.trackers.base import RowTracker, Tracker
from mpifl.training.callback import RunUnderway

FOLDER = "tensorboard"
"""in a run's folder"""


@options
class TensorBoard(Tracker):
    """Event files for TensorBoard, in RUN/tensorboard. Needs `pip install 'mpifl[tensorboard]'`.

    `tensorboard --logdir runs` shows all runs below runs/. A resumed run goes on in the same place.
    """

    folder: str = ""
    """another folder, in which each run has one of its own, by its name; may contain ~ and
    $VARIABLES
    """

    def check_installed(self) -> None:
        """Raises BadInput."""
        check_installed("callbacks: tensorboard")

    def callback(self) -> RowTracker:
        """Writes scalars of each round."""
        return _ToTensorBoard(self.folder)


class _ToTensorBoard(RowTracker):
    """Writes each round into an event file at once."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def run_started(self, run: RunUnderway) -> None:
        super().run_started(run)
        self._file = EventFile(self._place(run), run.round + 1)
        if run.round == 0:
            self._file.text("config", run.config)
        self._file.flush()

    def _place(self, run: RunUnderway) -> Path:
        if not self._folder:
            return run.folder / FOLDER
        return expanded(self._folder, "callbacks: folder") / run.name

    def log(self, round: int, values: Mapping[str, float]) -> None:
        self._file.scalars(round, values)
        self._file.flush()

    def run_ended(self, status: str) -> None:
        self._file.close()
