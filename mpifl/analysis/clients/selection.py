"""Which models of a run are analysed, and on which images: the choices of `mpifl features`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mpifl.analysis.clients.drift import drift
from mpifl.analysis.clients.features import Images, count_models, features, subset
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.analysis.models.reload import ReloadedRun, reload_run
from mpifl.analysis.models.stored import has_clients
from mpifl.data.dataset import Split
from mpifl.parallel.devices import configure, device_for
from mpifl.store import Run
from mpifl.terminal import plural, progress_bar, say


@dataclass(frozen=True)
class Selection:
    """Rounds, clients and images."""

    rounds: Sequence[int] = ()
    """none: all that are stored with their clients; for features all, where there are none"""
    clients: Sequence[int] | None = None
    """None: all that are stored"""
    on: str = "test"
    """test, train, or own: each client's own training images"""
    samples: int = 1000
    """images at most"""
    data_path: str = ""
    """where the packed data are now, if they have moved"""
    device: str = "auto"
    plugins: Sequence[Path] = ()
    """files of the runs' plugins, of those that the user has not trained with"""

    def drift(self, run: Run) -> dict[str, np.ndarray]:
        """The drift of one run's clients; in round 1, from the initial weights."""
        needs_initial = has_clients(run, 1) and (not self.rounds or 1 in self.rounds)
        initial = None
        if needs_initial:
            initial = reload_run(run, self.data_path, plugins=self.plugins).initial()[0]
        return drift(run, self.rounds, initial)

    def features(self, run: Run) -> dict[str, np.ndarray]:
        """The features of one run's models; shows a progress bar in a terminal."""
        device = device_for(self.device, 0, 1)
        configure(device, torch.get_num_threads())  # arithmetic as in the run
        reloaded = reload_run(run, self.data_path, device, self.plugins)
        rounds = self._feature_rounds(run)
        models = count_models(run, rounds, self.clients)
        label = f"{run.path}: {plural(models, 'model')} at {plural(len(rounds), 'round')}"
        say(label, error=True)
        with progress_bar("models", models) as advance:
            return features(
                reloaded,
                rounds,
                self.clients,
                self._images(reloaded),
                on_model=lambda: advance(1),
            )

    def _feature_rounds(self, run: Run) -> Sequence[int]:
        if self.rounds:
            return self.rounds
        with_clients = [round for round in run.saved_arrays if has_clients(run, round)]
        return with_clients or run.saved_rounds

    def _images(self, reloaded: ReloadedRun) -> Images:
        """The images of each model; with `own`, the global model has all training images."""
        dataset = reloaded.dataset
        common = subset(dataset.test if self.on == "test" else dataset.train, self.samples)

        def images(client: int) -> Split:
            if self.on == "own" and client != GLOBAL:
                return subset(reloaded.own(client), self.samples)
            return common

        return images
