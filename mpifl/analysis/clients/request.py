"""Drift and features of a run as they are asked for in words: which rounds, whose models, on which
images.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np
import torch

from mpifl.analysis.clients.drift import drift
from mpifl.analysis.clients.features import Images, features, models, subset
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.analysis.models.reload import Revisited, revisit
from mpifl.parallel.devices import device_for, settle
from mpifl.store import Run


@dataclass(frozen=True)
class Looks:
    """What is looked at."""

    rounds: Sequence[int] = ()
    """none: all that are stored with their clients, or for features all, where there are none"""
    clients: Sequence[int] | None = None
    """None: all that are stored"""
    on: str = "test"
    """test, train, or own: a client's own training images"""
    samples: int = 1000
    """images at most"""
    path: str = ""
    """where the packed data are, if they have moved"""
    device: str = "auto"

    def drift(self, run: Run) -> dict[str, np.ndarray]:
        """The drift of one run; of round 1, from its initial weights."""
        first = "clients" in run.saved_arrays.get(1, ()) and (not self.rounds or 1 in self.rounds)
        return drift(run, self.rounds, revisit(run, self.path).initial()[0] if first else None)

    def features(self, run: Run) -> dict[str, np.ndarray]:
        """The features of one run, with a progress bar in a terminal."""
        device = device_for(self.device, 0, 1)
        settle(device, torch.get_num_threads())  # arithmetic as in the run
        of = revisit(run, self.path, device)
        rounds = self.rounds or [
            round for round, names in run.saved_arrays.items() if "clients" in names
        ]
        rounds = rounds or run.saved_rounds
        number, images = models(run, rounds, self.clients), self._images(of)
        what = f"{run.path}: {number} model{'s'[: number > 1]} at {len(rounds)} round{'s'[: len(rounds) > 1]}"
        with click.progressbar(length=number, label=what, file=sys.stderr) as bar:
            return features(of, rounds, self.clients, images, watch=lambda: bar.update(1))

    def _images(self, of: Revisited) -> Images:
        """The global model is looked at on everybody's training images where clients are on their
        own.
        """
        common = subset(of.dataset.test if self.on == "test" else of.dataset.train, self.samples)
        own = self.on == "own"
        return lambda client: (
            subset(of.own(client), self.samples) if own and client != GLOBAL else common
        )
