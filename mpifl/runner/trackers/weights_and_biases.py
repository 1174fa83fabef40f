"""Weights & Biases: each round as metrics of a run, offline unless asked otherwise."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import import_module
from typing import Literal

from mpifl.options import BadInput, options
from mpifl.runner.trackers.base import RowTracker, Tracker
from mpifl.training.callback import RunUnderway

_EXIT_CODES = {"complete": 0, "stopped": 0, "failed": 1}


@options
class WeightsAndBiases(Tracker):
    """Weights & Biases (W&B), without a network. Needs `pip install 'mpifl[wandb]'`.

    Files are written into RUN/wandb; `wandb sync RUN/wandb/offline-run-*` sends them, from a
    machine that has a network. The run's id is that of mpifl, so what is sent of a resumed run
    goes on in the same W&B run.
    """

    project: str = "mpifl"
    """name of the project at W&B"""
    entity: str = ""
    """user or team at W&B; empty: your own"""
    tags: tuple[str, ...] = ()
    """words to find the run by at W&B"""
    mode: Literal["offline", "online"] = "offline"
    """offline: only files; online: sent at once; rank 0 needs a network and a login"""

    def check_installed(self) -> None:
        """Raises BadInput."""
        try:
            import_module("wandb")
        except ImportError:
            raise BadInput(
                "callbacks: wandb: expected the library wandb; got none; "
                "`pip install 'mpifl[wandb]'`"
            ) from None

    def callback(self) -> RowTracker:
        """Logs each round."""
        return _ToWeightsAndBiases(self)


class _ToWeightsAndBiases(RowTracker):
    """Logs each round, by its number."""

    def __init__(self, options: WeightsAndBiases) -> None:
        self._options = options

    def run_started(self, run: RunUnderway) -> None:
        import wandb

        super().run_started(run)
        options = self._options
        self._logged = wandb.init(
            project=options.project,
            entity=options.entity or None,
            tags=options.tags,
            name=run.name,
            id=run.run_id,
            dir=str(run.folder),
            config=tomllib.loads(run.config),
            mode=options.mode,
            resume="allow" if options.mode == "online" else None,
            settings=wandb.Settings(console="off", silent=True),
        )
        self._logged.define_metric("*", step_metric="round")

    def log(self, round: int, values: Mapping[str, float]) -> None:
        self._logged.log({"round": round, **values})

    def run_ended(self, status: str) -> None:
        self._logged.summary["status"] = status
        self._logged.finish(exit_code=_EXIT_CODES[status])
