"""Curves of a group's runs over rounds, FLOPs, bytes or seconds, and panels of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.series import series
from mpifl.analysis.runs.units import UNITS, title, unit
from mpifl.options import BadInput
from mpifl.store import Run


def curve(group: Group, quantity: str, over: str = "round") -> Trace:
    """`quantity` of a group's runs at the rounds that all of them have, over the mean of `over`.

    Raises BadInput where a run has no values, or the runs share no rounds.
    """
    found = [_by_round(run, quantity) for run in group.runs]
    shared = set(found[0])
    for values in found[1:]:
        shared &= set(values)
    rounds = sorted(shared)
    if not rounds:
        expected = f"rounds at which all runs have {quantity}"
        raise BadInput(f"{group.label}: expected {expected}; got none")
    x = np.mean([_at(run, over, rounds) for run in group.runs], 0)
    y = []
    for values in found:
        y.append([values[round] for round in rounds])
    return Trace(group.label, x, np.array(y), [run_name(run) for run in group.runs])


def run_name(run: Run) -> str:
    """What a reader knows a run by: the name of its folder or packed file, and its seed."""
    path = run.path.resolve()
    place = path.parent.name if path.name == "results.h5" else path.name
    return f"{place}, seed {run.seed}"


def _by_round(run: Run, quantity: str) -> dict[int, float]:
    rounds, values = series(run, quantity)
    return dict(zip(rounds.tolist(), values.tolist(), strict=True))


def _at(run: Run, over: str, rounds: Sequence[int]) -> np.ndarray:
    """The values [R] of `over` at `rounds`; NaN where they are not known."""
    if over == "round":
        return np.array(rounds, "f8")
    known = _by_round(run, over)
    return np.array([known.get(round, np.nan) for round in rounds])


def curve_panels(
    groups: Sequence[Group],
    quantities: Sequence[str],
    over: Sequence[str] = ("round",),
    log: Sequence[str] = (),
) -> list[Panel]:
    """A panel for each quantity over each of `over`, in suitable units; a trace for each group.

    `log`: the quantities on a logarithmic axis. Raises BadInput as `curve`, and for `log` of what
    is not drawn.
    """
    for name in log:
        if name not in quantities:
            drawn = ", ".join(quantities)
            raise BadInput(f"log: expected quantities that are drawn ({drawn}); got {name}")
    panels = []
    for quantity in quantities:
        for x in over:
            panels.append(_panel(groups, quantity, x, quantity in log))
    return panels


def _panel(groups: Sequence[Group], quantity: str, over: str, log: bool) -> Panel:
    traces = [curve(group, quantity, over) for group in groups]
    largest_x = max(float(np.nanmax(trace.x, initial=0)) for trace in traces)
    largest_y = max(float(trace.values.max()) for trace in traces)
    x_factor, x_unit = unit(over, largest_x)
    y_factor, y_unit = unit(quantity, largest_y)
    return Panel(
        title(over, x_unit),
        title(quantity, y_unit),
        [trace.scaled(x_factor, y_factor) for trace in traces],
        log=log,
        limits=_limits(quantity, y_unit),
        from_zero=quantity in UNITS,
        whole=over == "round",
        x_unit=x_unit,
        y_unit=y_unit,
    )


def _limits(quantity: str, unit: str) -> tuple[float, float]:
    """Between which values a quantity lies; a gap may have either sign."""
    highest = 100 if unit == "%" else np.inf
    return -highest if "_gap" in quantity else 0, highest
