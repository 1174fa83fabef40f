"""Local models against the global one, from what was measured of a round: the table, and what
follows from it.

y_c is client c's model after its training, w the round's global model; D_c are client c's samples,
D those of all, p_c = n_c / n. s is SAM's sharpness, lambda the largest eigenvalue, f the loss.

    inconsistency             sum p_c s(w; D_c) - s(w; D) >= 0
    curvature inconsistency   sum p_c lambda(w; D_c) - lambda(w; D) >= 0
    flatness gap              s(w; D) - sum p_c s(y_c; D_c), of either sign; likewise of lambda
    averaging gain            f(ybar; D) - sum p_c f(y_c; D), ybar = sum p_c y_c
    distance                  sqrt(sum p_c |y_c - ybar|^2)

On D_c, w is no minimum, so s(w; D_c) is about rho |g_c|: the inconsistency then measures how much
the clients' gradients differ, not their curvature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpifl.analysis.flatness.names import AVERAGING, COHORT, FLATNESS
from mpifl.store.measurements import Finding, Findings


class Estimate(NamedTuple):
    """A number and its error."""

    value: float
    error: float


class Cell(NamedTuple):
    """One model on some samples."""

    loss: float
    accuracy: float
    gradient_norm: float
    lambda_max: float
    lambda_max_error: float
    """likely error"""
    trace: float
    trace_error: float
    """standard error"""
    sharpness: float
    """a lower bound"""
    sharpness_gain: float
    """of the search's last step"""

    def estimate(self, name: str) -> Estimate:
        """`lambda_max`, `trace` or `sharpness` with its error."""
        error = "sharpness_gain" if name == "sharpness" else f"{name}_error"
        return Estimate(getattr(self, name), getattr(self, error))


@dataclass(frozen=True, eq=False)
class Averaging:
    """What `measure_averaging` has found, k clients."""

    mean_loss: float
    """f(ybar; D)"""
    distance: np.ndarray
    """|y_c - w|"""
    distance_to_mean: np.ndarray
    """|y_c - ybar|"""
    barrier: np.ndarray
    """on the way from y_c to w, on D"""


@dataclass(frozen=True, eq=False)
class LocalAgainstGlobal:
    """One round, k clients."""

    round: int
    clients: Sequence[int]
    shares: np.ndarray
    """p_c [k]"""
    local: Sequence[Cell]
    """y_c on D_c"""
    local_on_all: Sequence[Cell]
    """y_c on D"""
    received: Sequence[Cell]
    """w on D_c"""
    whole: Cell
    """w on D"""
    averaging: Averaging

    @property
    def inconsistency(self) -> Estimate:
        """Of the sharpness; at least 0 but for the search, which gives lower bounds."""
        return self._difference(self.received, "sharpness", sign=1)

    @property
    def curvature_inconsistency(self) -> Estimate:
        """Of the largest eigenvalue; at least 0 but for errors."""
        return self._difference(self.received, "lambda_max", sign=1)

    @property
    def trace_difference(self) -> Estimate:
        """sum p_c tr H_c(w) - tr H(w): 0 but for errors, since each sample counts the same."""
        return self._difference(self.received, "trace", sign=1)

    def gap(self, name: str) -> Estimate:
        """Of w on D to the clients' own models on D_c: `sharpness`, `lambda_max` or `trace`."""
        return self._difference(self.local, name, sign=-1)

    def mean(self, cells: Sequence[Cell], name: str) -> float:
        """sum p_c of a quantity."""
        return float(self.shares @ np.array([getattr(cell, name) for cell in cells]))

    @property
    def averaging_gain(self) -> float:
        """Negative where the mean of the models is better than they are on average."""
        return self.averaging.mean_loss - self.mean(self.local_on_all, "loss")

    @property
    def distance(self) -> float:
        """Root mean square distance of the clients' models to their mean."""
        return math.sqrt(float(self.shares @ self.averaging.distance_to_mean**2))

    @property
    def barrier(self) -> float:
        """The highest of the clients' barriers to the global model."""
        return float(self.averaging.barrier.max())

    def _difference(self, cells: Sequence[Cell], name: str, sign: int) -> Estimate:
        """sign (sum p_c of `cells` - w on D), with the errors added in squares."""
        whole = self.whole.estimate(name)
        errors = np.array([cell.estimate(name).error for cell in cells])
        error = math.hypot(*(self.shares * errors), whole.error)
        return Estimate(sign * (self.mean(cells, name) - whole.value), error)


def comparisons(findings: Findings, measurement: str = "exact") -> list[LocalAgainstGlobal]:
    """Each round of which all models were measured, in order."""
    found = findings.under(measurement)
    made = []
    for path in sorted(found):
        round, model, quantity = path.split("/")
        if (model, quantity) == (COHORT, AVERAGING):
            number = int(round.removeprefix("round_"))
            of_round = _comparison(number, findings.under(f"{measurement}/{round}"))
            if of_round is not None:
                made.append(of_round)
    return made


def local_global_scalars(findings: Findings, measurement: str = "exact") -> dict[str, float]:
    """Of the last compared round, for tables of runs; nothing where none was compared."""
    found = comparisons(findings, measurement)
    if not found:
        return {}
    last = found[-1]
    return {
        "lambda_max_local": last.mean(last.local, "lambda_max"),
        "lambda_max_global": last.whole.lambda_max,
        "flatness_gap": last.gap("sharpness").value,
        "inconsistency": last.inconsistency.value,
    }


def _comparison(round: int, found: dict[str, Finding]) -> LocalAgainstGlobal | None:
    """None while a model is not measured."""
    averaging = found[f"{COHORT}/{AVERAGING}"]
    clients = averaging["clients"].tolist()

    def cells(path_of: Callable[[str], str]) -> list[Cell] | None:
        made = []
        for client in clients:
            cell = found.get(path_of(f"client_{client:06d}"))
            if cell is None:
                return None
            made.append(_cell(cell))
        return made

    whole = found.get(f"global_on_{COHORT}/{FLATNESS}")
    local = cells(lambda client: f"{client}_on_{client}/{FLATNESS}")
    local_on_all = cells(lambda client: f"{client}_on_{COHORT}/{FLATNESS}")
    received = cells(lambda client: f"global_on_{client}/{FLATNESS}")
    if whole is None or local is None or local_on_all is None or received is None:
        return None
    return LocalAgainstGlobal(
        round,
        clients,
        averaging["shares"],
        local,
        local_on_all,
        received,
        _cell(whole),
        Averaging(
            float(averaging["mean_loss"]),
            averaging["distance"],
            averaging["distance_to_mean"],
            averaging["barrier"],
        ),
    )


def _cell(finding: Finding) -> Cell:
    return Cell(**{name: float(finding[name]) for name in Cell._fields})
