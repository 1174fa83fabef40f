"""A run of the plugins in examples/ that is measured on ranks."""

from __future__ import annotations

from pathlib import Path

from mpifl.analysis import Exact, Measurement, RunOnRanks
from mpifl.parallel.communicator import Communicator
from mpifl.store import Run


def measure(communicator: Communicator, path: Path, name: str) -> str:
    """Measure the loss of the run's last model; the class of its model."""
    run = Run.open(path)
    on_ranks = RunOnRanks(run, communicator)
    measurement = Measurement(on_ranks, Exact(samples=50), name)
    models = on_ranks.models(run.saved_rounds[-1:])
    measurement.measure(measurement.tasks(models, ["objective"]))
    return type(on_ranks.reloaded.config.model).__name__
