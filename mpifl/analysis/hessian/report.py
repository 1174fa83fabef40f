"""What `mpifl hessian` prints: what it will take, each finding, and a table at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from mpifl.analysis.hessian.measurement import Cost, Measurement, Report, Task, silent
from mpifl.analysis.hessian.metrics import AVERAGE, GLOBAL, Metrics, disagreements, metrics
from mpifl.analysis.hessian.noise import cosine_in_words
from mpifl.store.measurements import Finding
from mpifl.terminal import percent, plural, progress_bar, say, say_table, table

_SHOWN = {
    "loss": "loss_error",
    "accuracy": "accuracy_error",
    "lambda_max": "lambda_max_error",
    "values": "errors",
    "smallest": "smallest_error",
    "trace": "trace_error",
    "norm": "norm_error",
    "value": "value_error",
    "H_N": "H_N_error",
    "sharpness": "sharpness_error",
    "mean_loss": "mean_loss_error",
}
"""arrays of a finding whose first number is printed, and the array of its error"""

_OF_SERVER = {GLOBAL: "global", AVERAGE: "average"}

_NEAR_ZERO = 0.01
"""a share of the largest eigenvalue: below it, rounding hides an eigenvalue's sign"""


@contextmanager
def progress(measurement: Measurement, tasks: Sequence[Task]) -> Iterator[Report]:
    """Print what the tasks will take; inside, show a bar in a terminal. Every rank calls it.

    Gives the function that prints a finding.
    """
    cost = measurement.cost(tasks) if tasks else None
    if not measurement.communicator.is_server:
        yield silent
        return
    say(_announcement(measurement, tasks, cost))
    total = int(cost.products) if cost is not None else 0
    # Under mpirun, output looks like a terminal even where it is none.
    shown = cost is not None and measurement.communicator.size == 1
    with progress_bar("Hessian-vector products", total, shown) as advance:
        measurement.on_products = advance
        yield lambda label, finding: say(_line(label, finding))


def _announcement(measurement: Measurement, tasks: Sequence[Task], cost: Cost | None) -> str:
    path = measurement.run.path
    if cost is None:
        return f"{path}: measurement {measurement.name!r} has everything already"
    models = {task.model.path for task in tasks}
    where = f"{plural(len(models), 'model')} on {plural(measurement.communicator.size, 'rank')}"
    time = f"{cost.seconds / 60:.0f} min" if cost.seconds > 90 else f"{cost.seconds:.0f} s"
    memory = f"{cost.memory.total / 1e6:,.0f} MB a rank"
    return (
        f"{path}: {measurement.name}, {plural(len(tasks), 'measurement')} of {where}: "
        f"about {cost.products:,.0f} Hessian-vector products, {time}, {memory}"
    )


def _line(label: str, finding: Finding) -> str:
    return f"{label:32} {_in_words(finding)}"


def _in_words(finding: Finding) -> str:
    """The first numbers of a finding."""
    if "problem" in finding.facts:
        return f"not compared: {finding.facts['problem']}"
    if "nodes" in finding.arrays:
        weights = finding["weights"]
        nodes = finding["nodes"]
        clearly_negative = nodes < -_NEAR_ZERO * nodes.max()  # most are 0 but for rounding
        below = (weights * clearly_negative).sum() / len(nodes)
        return f"eigenvalues below -{_NEAR_ZERO:.0%} of the largest: {below:.2%}"
    if "layer" in finding.arrays and "value" in finding.arrays:
        largest = int(finding["value"].argmax())
        return f"largest {finding['value'][largest]:.5g}, of {finding['layer'][largest]}"
    words = []
    for name, error in _SHOWN.items():
        if name in finding.arrays and np.asarray(finding[name]).dtype.kind == "f":
            spread = _first(finding, error) if error in finding.arrays else math.nan
            words.append(_figure(name, _first(finding, name), spread))
    if "H_D" in finding.arrays:
        words.append(f"H_D {_cosine(finding)}")
    return "  ".join(words)


def _cosine(finding: Finding) -> str:
    probes = finding.facts.get("probes")
    return cosine_in_words(_first(finding, "H_D"), _first(finding, "H_D_error"), probes)


def _figure(name: str, value: float, error: float) -> str:
    """A number with its error, or that the error is too large."""
    if name == "norm" and value <= error:
        return f"norm below its error, {error:.2g} (raise --probes)"
    if name == "accuracy":
        return f"accuracy {_plus_minus(f'{100 * value:.2f}', 100 * error)} %"
    return f"{name} {_plus_minus(f'{value:.5g}', error)}"


def _first(finding: Finding, name: str) -> float:
    return float(np.ravel(finding[name])[0])


def conclusion(measurement: Measurement) -> None:
    """Print what is known: a row for each model, and a line for each comparison of clients."""
    findings = measurement.findings
    name = measurement.name
    made = table(
        "round", "model", "loss", "accuracy", "λ_max", "λ_min", "H_T", "±", "‖diag H‖", texts=2
    )
    for row in metrics(findings, name):
        made.add_row(*_cells(row))
    say_table(f"{measurement.run.path}, {name}", made)
    for found in disagreements(findings, name):
        norms = _plus_minus(f"{found.H_N:.5g}", found.H_N_error)
        directions = cosine_in_words(found.H_D, found.H_D_error, found.probes)
        say(f"round {found.round}, between clients: H_N {norms}  H_D {directions}")
    written(measurement)


def written(measurement: Measurement) -> None:
    """Print where the findings are."""
    say(f"written to {measurement.findings.file}")


def _cells(row: Metrics) -> Iterator[str]:
    yield str(row.round)
    yield _OF_SERVER.get(row.client, f"client {row.client}")
    yield _cell(row.loss)
    yield "" if math.isnan(row.accuracy) else percent(row.accuracy)
    for figure in (
        row.lambda_max,
        row.lambda_min,
        row.H_T,
        row.H_T_error,
        row.diagonal_norm,
    ):
        yield _cell(figure)


def _cell(figure: float) -> str:
    return "" if math.isnan(figure) else f"{figure:.4g}"


def _plus_minus(value: str, error: float) -> str:
    return value if math.isnan(error) else f"{value} ± {error:.2g}"
