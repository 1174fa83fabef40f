"""A run's figures as curves over rounds, bytes or seconds; of a group of runs, their mean and
spread over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.runs.groups import Group
from mpifl.options import BadInput, suggestion
from mpifl.store import Run

SHORT = {"accuracy": "test_accuracy", "loss": "test_loss"}
"""names of columns of /rounds that are asked for most"""

MADE = ("bytes", "seconds", "training_loss", "training_accuracy")
"""what is made of columns: bytes up and down and seconds since the start; means over the round's
clients, weighted
"""


TITLES = {
    "accuracy": "test accuracy",
    "loss": "test loss",
    "bytes": "sent up and down",
    "seconds": "time",
}
"""of quantities; others are called as they are"""

UNITS = {
    "bytes": ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes")),
    "seconds": ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")),
}


def series(run: Run, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Rounds [n] and values [n] of `quantity` where it is known: a column of /rounds, of SHORT or
    of MADE.

    Raises BadInput where the run has none.
    """
    values = _column(run, quantity)
    known = np.isfinite(values)
    if not known.any():
        why = "; it has no evaluation yet" if quantity.removeprefix("test_") in SHORT else ""
        raise BadInput(
            f"{run.path}: expected values of {quantity}; got none in {len(values)} rounds{why}"
        )
    return run.rounds["round"][known], values[known]


def quantities(run: Run) -> list[str]:
    """All that `series` can be asked for of this run."""
    numbers = [
        name
        for name, column in run.rounds.items()
        if column.dtype.kind in "fi" and name not in MADE
    ]
    return [*SHORT, *MADE, *numbers]


def _column(run: Run, quantity: str) -> np.ndarray:
    quantity = SHORT.get(quantity, quantity)
    if quantity == "bytes":
        return np.cumsum(_known(run, "bytes_up") + _known(run, "bytes_down"))
    if quantity == "seconds":
        return np.cumsum(_known(run, "seconds"))
    if quantity in MADE:
        return _over_clients(run, quantity.removeprefix("training_"))
    return _known(run, quantity)


def _known(run: Run, name: str) -> np.ndarray:
    """A column of numbers; NaN where the run does not know."""
    if name not in run.rounds or run.rounds[name].dtype.kind not in "fi":
        raise BadInput(f"{run.path}: {name}: unknown quantity{suggestion(name, quantities(run))}")
    column = run.rounds[name]
    unknown = column < 0 if column.dtype.kind == "i" else np.isnan(column)
    return np.where(unknown, np.nan, column)


def _over_clients(run: Run, name: str) -> np.ndarray:
    """The mean over each round's clients, weighted as their replies were."""
    if not {name, "weight"} <= set(run.clients):
        raise BadInput(
            f"{run.path}: expected /clients/{name} and /clients/weight; got {', '.join(run.clients)}"
        )
    weight = np.nan_to_num(run.clients["weight"].astype("f8"))
    took_part = weight > 0
    value = np.where(took_part, run.clients[name], 0).astype("f8")
    return (weight * value).sum(1) / np.where(took_part.any(1), weight.sum(1), np.nan)


def curve(group: Group, quantity: str, over: str = "round") -> Trace:
    """`quantity` of the runs of a group at the rounds that they share, along the mean of `over`.
    Raises BadInput.
    """
    found = [
        dict(zip(*map(np.ndarray.tolist, series(run, quantity)), strict=True)) for run in group.runs
    ]
    rounds = sorted(set.intersection(*map(set, found)))
    if not rounds:
        raise BadInput(
            f"{group.label}: expected rounds at which all runs have {quantity}; got none"
        )
    x = np.mean([_at(run, over, rounds) for run in group.runs], 0)
    return Trace(group.label, x, np.array([[of[round] for round in rounds] for of in found]))


def _at(run: Run, over: str, rounds: Sequence[int]) -> np.ndarray:
    """The values [R] at `rounds` of what a curve is drawn over."""
    if over == "round":
        return np.array(rounds, "f8")
    known = dict(zip(*map(np.ndarray.tolist, series(run, over)), strict=True))
    return np.array([known.get(round, np.nan) for round in rounds])


def curve_panels(
    groups: Sequence[Group],
    quantities: Sequence[str],
    over: Sequence[str] = ("round",),
    log: Sequence[str] = (),
) -> list[Panel]:
    """A panel for each quantity over each of `over`, in units that suit; `log`: quantities on a
    logarithmic axis.
    """
    return [_panel(groups, quantity, x, quantity in log) for quantity in quantities for x in over]


def _panel(groups: Sequence[Group], quantity: str, over: str, log: bool) -> Panel:
    traces = [curve(group, quantity, over) for group in groups]
    x_factor, x_unit = unit(over, max(float(np.nanmax(trace.x, initial=0)) for trace in traces))
    y_factor, y_unit = unit(quantity, max(float(trace.values.max()) for trace in traces))
    return Panel(
        title(over, x_unit),
        title(quantity, y_unit),
        [trace.scaled(x_factor, y_factor) for trace in traces],
        log=log,
        limits=(0, 100) if y_unit == "%" else (0, np.inf),
        from_zero=quantity in UNITS,
        whole=over == "round",
    )


def title(quantity: str, unit: str = "") -> str:
    """What an axis is called."""
    words = TITLES.get(quantity, quantity.replace("_", " "))
    return f"{words}, {unit}" if unit else words


def unit(quantity: str, largest: float) -> tuple[float, str]:
    """The factor and the name of the unit for values of `quantity` up to `largest`.

    >>> unit("bytes_to_target", 3.2e9), unit("test_accuracy", 0.9), unit("lr", 0.1)
    ((1e-09, 'GB'), (100.0, '%'), (1.0, ''))
    """
    if "accuracy" in quantity:
        return 100.0, "%"
    steps = UNITS.get(quantity.split("_")[0], ((1, ""),))
    size, name = next((step for step in steps if largest >= 2 * step[0]), steps[-1])
    return 1 / size, name
