"""Measures of generalisation from counts: pure arithmetic on arrays.

Two means are never mixed: `mean` is over clients, each counting the same; `pooled` is over samples.
A client without samples has no accuracy (NaN) and is left out. Sources: Yuan et al. 2022 (gaps),
Li et al. 2020 q-FFL (worst and best tenth), Guo et al. 2017 (calibration).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_TAIL = 0.1
PERCENTILES = (5, 25, 50, 75, 95)


class OverClients(NamedTuple):
    """A quantity over clients: accuracy, or mean loss."""

    mean: float
    """over clients, each counting the same"""
    pooled: float
    """over all samples"""
    variance: float
    """of the population: over clients, divided by their number"""
    worst: float
    """mean of the tenth of the clients with the lowest values, at least one"""
    best: float
    """mean of the tenth with the highest"""
    lowest: float
    percentiles: tuple[float, ...]
    """those of PERCENTILES, by nearest rank"""
    clients: int
    """how many have samples"""


def over_clients(sums: np.ndarray, samples: np.ndarray) -> OverClients:
    """From the clients' sums [C] (right, or losses) and numbers of samples [C]."""
    known = samples > 0
    if not known.any():
        nothing = float("nan")
        none = (nothing,) * len(PERCENTILES)
        return OverClients(nothing, nothing, nothing, nothing, nothing, nothing, none, 0)
    sums = sums[known].astype("f8")
    samples = samples[known]
    values = sums / samples
    ordered = np.sort(values)
    tail = max(1, int(_TAIL * len(values) + 1e-9))
    return OverClients(
        mean=float(values.mean()),
        pooled=float(sums.sum() / samples.sum()),
        variance=float(values.var()),
        worst=float(ordered[:tail].mean()),
        best=float(ordered[-tail:].mean()),
        lowest=float(ordered[0]),
        percentiles=tuple(percentile(values, q) for q in PERCENTILES),
        clients=len(values),
    )


def percentile(values: np.ndarray, q: float) -> float:
    """The q-th percentile by nearest rank, as TensorFlow Probability's default.

    It is one of the values: that at rank rint((m - 1) (1 - q / 100)) from the top, of m.
    """
    falling = np.sort(values)[::-1]
    return float(falling[int(np.rint((len(values) - 1) * (1 - q / 100)))])


def recalls(right: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """f8 [K]: the share of each class that is classified right; NaN for classes without samples."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(samples > 0, right / samples, np.nan)


def balanced_accuracy(right: np.ndarray, samples: np.ndarray) -> float:
    """The mean recall of the classes that have samples."""
    return float(np.nanmean(recalls(right, samples)))


class Skewed(NamedTuple):
    """What clients would see of a model whose recall by class is known; arrays [C]."""

    accuracy: np.ndarray
    """f8: sum of q_ck recall_k / sum of q_ck over the classes k that were tested; NaN for none"""
    mass: np.ndarray
    """f8: sum of q_ck over these classes: the part of the client's labels that accuracy rests on"""


def skewed_accuracy(recall: np.ndarray, label_counts: np.ndarray) -> Skewed:
    """The accuracy on a test set with the classes in the shares q of each client's own labels.

    `recall` is f8 [K], NaN for classes without test samples; `label_counts` are integers [C, K], of
    at least one sample a client.
    """
    shares = label_counts / label_counts.sum(1, keepdims=True)
    known = ~np.isnan(recall)
    mass = shares[:, known].sum(1)
    with np.errstate(invalid="ignore"):
        return Skewed(shares[:, known] @ recall[known] / mass, mass)


def calibration_error(samples: np.ndarray, right: np.ndarray, confidence: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3) from each bin's number of samples, right
    ones, and summed confidence.
    """
    n = samples.sum()
    if not n:
        return float("nan")
    return float(np.abs(right - confidence).sum() / n)
