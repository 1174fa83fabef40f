"""Columns of /rounds where their values are known: a run has no value where it was not tested."""

from __future__ import annotations

import math

import numpy as np

from mpifl.store import Run


def known(run: Run, name: str) -> np.ndarray:
    """The finite values of a column, in the order of rounds; none where the run lacks it."""
    values = run.rounds.get(name, np.zeros(0))
    return values[np.isfinite(values)]


def last(run: Run, name: str) -> float:
    """The last known value of a column; NaN where there is none."""
    values = known(run, name)
    return float(values[-1]) if len(values) else math.nan


def evaluated(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The rounds that were tested, and their accuracies."""
    accuracy = run.rounds.get("test_accuracy", np.full(len(run.rounds["round"]), np.nan))
    known = np.isfinite(accuracy)
    return run.rounds["round"][known], accuracy[known]
