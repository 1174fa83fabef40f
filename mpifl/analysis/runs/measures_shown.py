"""The measures of a run's last evaluation beside those of GENERALISATION, in words, for `show`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mpifl.analysis.runs.columns import last
from mpifl.store import Run
from mpifl.terminal import percent, plural

_SPREAD = {
    "_pooled": "pooled",
    "_deviation": "deviation",
    "_worst_client": "worst client",
    "_worst_tenth": "worst tenth",
    "_best_tenth": "best tenth",
    "_p5": "5th percentile",
    "_p25": "25th",
    "_p50": "median",
    "_p75": "75th",
    "_p95": "95th",
}
"""beside the mean over clients, by the end of the column's name"""


def lines(run: Run) -> Iterator[tuple[str, str]]:
    """What is measured, and its last values; only what the run has."""
    found = {
        "by class": {
            "test_accuracy_balanced": "balanced",
            "test_accuracy_worst_class": "worst class",
            "test_accuracy_top5": "top 5",
        },
        "other models": {
            "test_accuracy_cohort": "mean of the cohort's models",
            "test_accuracy_all": "mean of all clients' latest",
            "test_accuracy_average": "the server's second model",
        },
        "calibration error": {"test_calibration_error": "last"},
        "training samples": {"train_accuracy": "last"},
        "own test sets, spread": _over_clients("own_accuracy"),
        "a client's own model": {
            "own_accuracy_before": "before its training",
            "own_accuracy_after": "after",
        },
        "before its training, spread": _over_clients("own_accuracy_before"),
        "after its training, spread": _over_clients("own_accuracy_after"),
        "unseen clients, spread": _over_clients("unseen_accuracy"),
        "gaps": {
            "participation_gap_pooled": "participation, pooled",
            "out_of_sample_gap": "out of sample",
            "out_of_sample_gap_pooled": "pooled",
        },
    }
    for title, columns in found.items():
        words = []
        for column, what in columns.items():
            value = last(run, column)
            if not math.isnan(value):
                words.append(f"{what} {percent(value)}")
        if words and "own_right_by_client" in run.evaluations:
            if title == "own test sets, spread":
                words.append(_counted(run, run.trains))
            elif title == "unseen clients, spread":
                words.append(_counted(run, ~run.trains))
        if words:
            yield title, ", ".join(words)


def _counted(run: Run, of: np.ndarray) -> str:
    """How many of the clients `of` (bool [C]) have samples, and how many the worst one has."""
    samples = run.evaluations["own_samples_by_client"]
    right = run.evaluations["own_right_by_client"]
    of_last = right[(right >= 0).any(axis=1)][-1]
    tested = np.flatnonzero(of & (samples > 0))
    worst = tested[np.argmin(of_last[tested] / samples[tested])]
    clients = plural(len(tested), "client")
    return f"of {clients}; the worst has {plural(int(samples[worst]), 'sample')}"


def _over_clients(name: str) -> dict[str, str]:
    return {f"{name}{end}": what for end, what in _SPREAD.items()}
