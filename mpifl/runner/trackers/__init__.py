"""Trackers: callbacks that a config names, which tell other programs of a run's rounds."""

from __future__ import annotations

from mpifl.runner.trackers.base import RowTracker, Tracker
from mpifl.runner.trackers.tensorboard import TensorBoard
from mpifl.runner.trackers.weights_and_biases import WeightsAndBiases

TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}

__all__ = ["TRACKERS", "RowTracker", "Tracker"]
