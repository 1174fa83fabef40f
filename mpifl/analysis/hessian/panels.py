"""What `mpifl hessian` has measured, as panels: curvature by round, and spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.hessian.metrics import GLOBAL, Metrics, metrics
from mpifl.analysis.runs.curves import run_name
from mpifl.analysis.runs.groups import Group
from mpifl.options import BadInput
from mpifl.store.measurements import Findings

ByRound = Mapping[int, Metrics]
"""the measured global models of one run, by round"""

_MEASURES = {
    "largest eigenvalue λ_max": ("lambda_max", "lambda_max_error"),
    "trace H_T": ("H_T", "H_T_error"),
}
"""for the title of a panel: the fields of Metrics with the value and its error"""

_POINTS = 400
_LOWEST = 1e-6
"""densities below this share of the largest are left out"""


def curvature_panels(groups: Sequence[Group], measurement: str = "exact") -> list[Panel]:
    """Largest eigenvalue and trace of the Hessian by round, then the spectrum's density.

    All are of the global models, at the rounds at which all runs of a group were measured; the
    spectrum is at the last of them. A panel is left out where a run lacks its values. Raises
    BadInput where a run has no measurement of this name, or the runs of a group share no round.
    """
    found = []
    for group in groups:
        found.append([_by_round(Findings.open(run), measurement) for run in group.runs])
    panels = []
    for title, (name, error) in _MEASURES.items():
        traces = []
        for group, runs in zip(groups, found, strict=True):
            traces.append(_trace(group, runs, name, error))
        if all(np.isfinite(trace.values).any() for trace in traces):
            panels.append(Panel("round", title, traces, from_zero=True))
    spectra = _spectrum_panel(groups, found, measurement)
    return [*panels, spectra] if spectra else panels


def _by_round(findings: Findings, measurement: str) -> ByRound:
    found = {row.round: row for row in metrics(findings, measurement) if row.client == GLOBAL}
    if not found:
        expected = f"measurement {measurement!r}, made by `mpifl hessian {findings.run.path}`"
        raise BadInput(f"{findings.run.path}: expected {expected}; got none")
    return found


def _shared_rounds(group: Group, runs: Sequence[ByRound]) -> list[int]:
    shared = set(runs[0])
    for measured in runs[1:]:
        shared &= set(measured)
    if not shared:
        expected = "a round at which all runs were measured"
        raise BadInput(f"{group.label}: expected {expected}; got none")
    return sorted(shared)


def _trace(group: Group, runs: Sequence[ByRound], name: str, error: str) -> Trace:
    """A quantity of each run, with its error, at the rounds that all runs of the group share."""
    rounds = _shared_rounds(group, runs)
    values = []
    errors = []
    for measured in runs:
        values.append([getattr(measured[round], name) for round in rounds])
        errors.append([getattr(measured[round], error) for round in rounds])
    names = [run_name(run) for run in group.runs]
    at = np.array(rounds, "f8")
    return Trace(group.label, at, np.array(values, "f8"), names, np.array(errors, "f8"))


def _spectrum_panel(
    groups: Sequence[Group], found: Sequence[Sequence[ByRound]], measurement: str
) -> Panel | None:
    """The density of each group's eigenvalues; None where a run has none at the shared round."""
    traces = []
    rounds = []
    for group, runs in zip(groups, found, strict=True):
        last = _shared_rounds(group, runs)[-1]
        densities = []
        for run in group.runs:
            spectra = Findings.open(run).under(f"{measurement}/round_{last:06d}/global")
            if "spectrum" not in spectra:
                return None
            densities.append((spectra["spectrum"]["grid"], spectra["spectrum"]["density"]))
        traces.append(_density(group, densities))
        rounds.append(last)
    title = f"round {rounds[0]}" if len(set(rounds)) == 1 else "last measured round"
    return Panel("eigenvalue", "density of eigenvalues", traces, title, log=True, whole=False)


def _density(group: Group, densities: Sequence[tuple[np.ndarray, np.ndarray]]) -> Trace:
    """The densities of a group's runs at common eigenvalues; none lies beyond a run's own grid."""
    lowest = min(float(grid[0]) for grid, _ in densities)
    highest = max(float(grid[-1]) for grid, _ in densities)
    at = densities[0][0] if len(densities) == 1 else np.linspace(lowest, highest, _POINTS)
    values = np.array(
        [np.interp(at, grid, density, left=0, right=0) for grid, density in densities]
    )
    floor = _LOWEST * values.max()
    values = np.maximum(values, floor)
    values[:, values.mean(0) <= floor] = np.nan  # a gap between eigenvalues
    names = [run_name(run) for run in group.runs]
    return Trace(group.label, at, values, names)
