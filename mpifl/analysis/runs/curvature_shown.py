"""What `mpifl hessian` has measured of a run's last models, in words, for `show`."""

from __future__ import annotations

from collections.abc import Iterator

from mpifl.analysis.flatness.comparison import LocalAgainstGlobal, comparisons
from mpifl.analysis.hessian.metrics import scalars
from mpifl.analysis.runs.table_formats import number
from mpifl.store.measurements import Findings

_NAMES = {"lambda_max": "λ_max", "H_T": "trace", "H_N": "H_N", "H_D": "H_D"}


def lines(findings: Findings) -> Iterator[tuple[str, str]]:
    """Of the measurement by definition (`exact`); nothing where there is none."""
    found = scalars(findings)
    if found:
        yield "curvature", ", ".join(f"{_NAMES[key]} {number(found[key])}" for key in found)
    compared = comparisons(findings)
    if compared:
        yield "local against global", _in_words(compared[-1])


def _in_words(last: LocalAgainstGlobal) -> str:
    local = number(last.mean(last.local, "lambda_max"))
    return (
        f"λ_max of the clients' models {local}, of the global one "
        f"{number(last.whole.lambda_max)}; flatness gap {number(last.gap('sharpness').value)}, "
        f"inconsistency {number(last.inconsistency.value)} (round {last.round})"
    )
