"""What is known of a run's curvature, in a few numbers a model and a round: for tables, notebooks
and the terminal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from mpifl.store.measurements import Finding, Findings

GLOBAL = -1
"""in the place of a client: the global model"""


class Metrics(NamedTuple):
    """Of one stored model; NaN for what is not known. Errors are standard errors."""

    round: int
    client: int
    """or GLOBAL"""
    loss: float
    accuracy: float
    lambda_max: float
    lambda_max_error: float
    """of protocol exact the likely error; of fedalign the residual"""
    lambda_min: float
    H_T: float
    """trace"""
    H_T_error: float
    diagonal_norm: float
    sharpness: float


class Disagreements(NamedTuple):
    """Of one round's clients."""

    round: int
    H_N: float
    H_N_error: float
    H_D: float
    H_D_error: float


def metrics(findings: Findings, measurement: str = "exact") -> list[Metrics]:
    """A row for each model that was looked at, by round, the global model first."""
    models: dict[tuple[int, int], dict[str, Finding]] = {}
    for path, finding in findings.under(measurement).items():
        round, model, quantity = path.split("/")
        if model != "clients":
            client = GLOBAL if model == "global" else int(model.removeprefix("client_"))
            models.setdefault((int(round.removeprefix("round_")), client), {})[quantity] = finding
    return [Metrics(*at, *_numbers(models[at])) for at in sorted(models)]


def disagreements(findings: Findings, measurement: str = "exact") -> list[Disagreements]:
    """A row for each round whose clients were compared."""
    rows = []
    for path, finding in sorted(findings.under(measurement).items()):
        round, model, _ = path.split("/")
        if model == "clients":
            values = (float(finding[name]) for name in Disagreements._fields[1:])
            rows.append(Disagreements(int(round.removeprefix("round_")), *values))
    return rows


def scalars(findings: Findings, measurement: str = "exact") -> dict[str, float]:
    """lambda_max and H_T of the last global model looked at, H_N and H_D of the last clients; only
    what is known.
    """
    models = [row for row in metrics(findings, measurement) if row.client == GLOBAL]
    rounds = disagreements(findings, measurement)
    found = {name: getattr(models[-1], name) for name in ("lambda_max", "H_T")} if models else {}
    found |= {name: getattr(rounds[-1], name) for name in ("H_N", "H_D")} if rounds else {}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _numbers(of: dict[str, Finding]) -> Iterator[float]:
    trace = "diagonal" if "diagonal" in of else "trace"
    of_lambda = (
        "errors" if "eigenvalues" in of and "errors" in of["eigenvalues"].arrays else "residuals"
    )
    yield _number(of, "objective", "loss")
    yield _number(of, "objective", "accuracy")
    yield _number(of, "eigenvalues", "values")
    yield _number(of, "eigenvalues", of_lambda)
    yield _number(of, "eigenvalues", "smallest")
    yield _number(of, trace, "trace")
    yield _number(of, trace, "trace_error")
    yield _number(of, "diagonal", "norm")
    yield _number(of, "sharpness", "value")


def _number(of: dict[str, Finding], quantity: str, name: str) -> float:
    """The first of an array; NaN where it is not known."""
    if quantity not in of or name not in of[quantity].arrays:
        return math.nan
    return float(of[quantity][name].reshape(-1)[0])
