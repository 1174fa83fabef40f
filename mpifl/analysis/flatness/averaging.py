"""What averaging does to a round's models: how far apart they are, and the loss between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpifl.analysis.flatness.cohort import Cohort
from mpifl.analysis.flatness.names import AVERAGING, COHORT
from mpifl.analysis.hessian.measurement import Measurement, Report, silent
from mpifl.analysis.landscape.values import barrier_between
from mpifl.analysis.models.stored import StoredModel
from mpifl.store import sha256
from mpifl.store.measurements import Finding

POINTS = 11
"""on the line between two models, both ends included"""


def measure_averaging(measurement: Measurement, cohort: Cohort, report: Report = silent) -> None:
    """Measure and keep distances, the mean model's loss, and barriers; nothing if they are known.

    All ranks call it. The finding's arrays, over the k clients:

    - `clients`, `shares` p_c, `sizes` n_c, `chosen` samples of each
    - `distance` |y_c - w| and `distance_to_mean` |y_c - ybar|, with ybar = sum p_c y_c
    - `mean_loss`, `mean_accuracy`: of ybar on D, with the mean of the clients' buffers
    - `barrier`: the highest rise of the loss on D above the straight line, on the way from y_c to
      w; buffers are interpolated with the weights. A lower bound, from 11 points.
    """
    path = f"{measurement.name}/round_{cohort.round:06d}/{COHORT}/{AVERAGING}"
    models = [cohort.w, *cohort.y]
    digest = sha256(
        np.concatenate([model.weights for model in models]),
        np.concatenate([model.buffers for model in models]),
    )
    if measurement.knows(path, digest):
        return
    mean = cohort.mean
    mean_loss, mean_accuracy = _score(measurement, cohort, mean)
    barriers = []
    for y_c in cohort.y:
        losses = []
        at = np.linspace(0.0, 1.0, POINTS)
        for share in at.tolist():
            losses.append(_score(measurement, cohort, _between(y_c, cohort.w, share))[0])
        barriers.append(barrier_between(at, np.array(losses)))
    arrays: dict[str, Any] = {
        "clients": np.array(cohort.clients, "i8"),
        "shares": cohort.shares,
        "sizes": cohort.sizes,
        "chosen": np.array([len(samples.indices) for samples in cohort.own], "i8"),
        "distance": [_distance(y_c, cohort.w) for y_c in cohort.y],
        "distance_to_mean": [_distance(y_c, mean) for y_c in cohort.y],
        "mean_loss": mean_loss,
        "mean_accuracy": mean_accuracy,
        "barrier": barriers,
    }
    facts = {"weights_sha256": digest, "samples": len(cohort.all.indices), "points": POINTS}
    measurement.keep(path, Finding(arrays, facts), f"round {cohort.round} averaging", report)


def _score(measurement: Measurement, cohort: Cohort, model: StoredModel) -> tuple[float, float]:
    """Loss and accuracy of a model on D."""
    measured = measurement.model(model._replace(on=cohort.all))
    return measured.objective("averaging").score(measured.w)


def _between(first: StoredModel, second: StoredModel, share: float) -> StoredModel:
    """(1 - share) first + share second, weights and buffers."""

    def mixed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return ((1 - share) * a.astype("f8") + share * b.astype("f8")).astype(a.dtype)

    return first._replace(
        weights=mixed(first.weights, second.weights), buffers=mixed(first.buffers, second.buffers)
    )


def _distance(first: StoredModel, second: StoredModel) -> float:
    """Euclidean, of the weights."""
    return float(np.linalg.norm(first.weights.astype("f8") - second.weights.astype("f8")))
