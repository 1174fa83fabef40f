"""The findings about a run's curvature in a few numbers: one row for each model and each round."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from mpifl.analysis.hessian.noise import is_lost
from mpifl.store.measurements import Finding, Findings

GLOBAL = -1
"""in the place of a client: the global model"""
AVERAGE = -2
"""in the place of a client: the average of the server's models"""

_OF_SERVER = {"global": GLOBAL, "average": AVERAGE}
_ONE_MODEL = re.compile(r"global|average|client_\d+")
"""in a path: a model on the samples that the protocol chooses for it"""


class Metrics(NamedTuple):
    """One stored model; NaN for what was not measured. Errors are standard errors."""

    round: int
    client: int
    """or GLOBAL, or AVERAGE"""
    loss: float
    accuracy: float
    lambda_max: float
    lambda_max_error: float
    """protocol exact: the likely error; fedalign: the residual"""
    lambda_min: float
    H_T: float
    """trace"""
    H_T_error: float
    diagonal_norm: float
    sharpness: float


class Disagreements(NamedTuple):
    """The clients of one round."""

    round: int
    H_N: float
    H_N_error: float
    H_D: float
    """a cosine: outside -1 to 1, or with a large error, it is noise"""
    H_D_error: float
    probes: int | None = None
    """of the client with the fewest; None where it is not known"""

    @property
    def is_lost(self) -> bool:
        """Whether noise hides H_D."""
        return is_lost(self.H_D, self.H_D_error)


def metrics(findings: Findings, measurement: str = "exact") -> list[Metrics]:
    """A row for each model that was measured, by round: global model, average, clients."""
    models: dict[tuple[int, int], dict[str, Finding]] = {}
    for path, finding in findings.under(measurement).items():
        round, model, quantity = _parts(path)
        if _ONE_MODEL.fullmatch(model):
            client = _OF_SERVER.get(model)
            if client is None:
                client = int(model.removeprefix("client_"))
            models.setdefault((round, client), {})[quantity] = finding
    ordered = sorted(models, key=_place)
    return [_metrics(round, client, models[round, client]) for round, client in ordered]


def _place(row: tuple[int, int]) -> tuple[int, int, int]:
    """What rows of (round, client) are sorted by."""
    round, client = row
    order = {GLOBAL: 0, AVERAGE: 1}
    return round, order.get(client, 2), client


def disagreements(findings: Findings, measurement: str = "exact") -> list[Disagreements]:
    """A row for each round whose clients were compared."""
    rows = []
    for path, finding in sorted(findings.under(measurement).items()):
        round, model, _ = _parts(path)
        if model == "clients":
            rows.append(
                Disagreements(
                    round,
                    float(finding["H_N"]),
                    float(finding["H_N_error"]),
                    float(finding["H_D"]),
                    float(finding["H_D_error"]),
                    finding.facts.get("probes"),
                )
            )
    return rows


def scalars(findings: Findings, measurement: str = "exact") -> dict[str, float]:
    """The known ones of lambda_max, H_T, H_N and H_D.

    They are of the last global model measured, and of the last clients. An H_D that noise hides is
    left out.
    """
    found: dict[str, float] = {}
    models = [row for row in metrics(findings, measurement) if row.client == GLOBAL]
    if models:
        found.update(lambda_max=models[-1].lambda_max, H_T=models[-1].H_T)
    rounds = disagreements(findings, measurement)
    if rounds:
        last = rounds[-1]
        found.update(H_N=last.H_N, H_D=math.nan if last.is_lost else last.H_D)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _parts(path: str) -> tuple[int, str, str]:
    """Round, model and quantity of a finding's path.

    >>> _parts("round_000010/client_000003/diagonal")
    (10, 'client_000003', 'diagonal')
    """
    round, model, quantity = path.split("/")
    return int(round.removeprefix("round_")), model, quantity


def _metrics(round: int, client: int, found: dict[str, Finding]) -> Metrics:
    trace = "diagonal" if "diagonal" in found else "trace"
    lambda_max_error = _number(found, "eigenvalues", "errors")
    if math.isnan(lambda_max_error):
        lambda_max_error = _number(found, "eigenvalues", "residuals")
    return Metrics(
        round=round,
        client=client,
        loss=_number(found, "objective", "loss"),
        accuracy=_number(found, "objective", "accuracy"),
        lambda_max=_number(found, "eigenvalues", "values"),
        lambda_max_error=lambda_max_error,
        lambda_min=_number(found, "eigenvalues", "smallest"),
        H_T=_number(found, trace, "trace"),
        H_T_error=_number(found, trace, "trace_error"),
        diagonal_norm=_number(found, "diagonal", "norm"),
        sharpness=_number(found, "sharpness", "value"),
    )


def _number(found: dict[str, Finding], quantity: str, name: str) -> float:
    """The first number of an array; NaN where it was not measured."""
    if quantity not in found or name not in found[quantity].arrays:
        return math.nan
    return float(found[quantity][name].reshape(-1)[0])
