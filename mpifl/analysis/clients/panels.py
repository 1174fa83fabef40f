"""Drift and features of groups of runs as panels.

Some panels are by round, others by layer at the last round that all runs share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from mpifl.analysis.clients.agreement import agreement
from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.options import BadInput

Arrays = dict[str, np.ndarray]
"""what `drift` or `features` returns for one run"""

Groups = Mapping[str, Sequence[Arrays]]
"""the runs of each group, by its label"""

Measure = Callable[[Arrays], tuple[np.ndarray, np.ndarray]]
"""of one run: rounds [R], and a number at each, [R], or several, [R, n]"""

_DRIFT = "drift ‖y − w‖"
_SPREAD = "spread ‖y − ȳ‖"
_COSINE = "cosine of updates"

_ROUNDING = 1e-9
"""smaller singular values, as a share of the largest, are rounding errors of zero"""


def drift_panels(groups: Groups) -> list[Panel]:
    """Drift, spread and cosines: three panels by round, then two by layer.

    Values are means over clients, or over pairs of them. The panels by layer are of the last round
    that all runs share; raises BadInput where there is none.
    """
    last = _last_shared_round(groups)
    names = _common_names(groups, "layer")
    return [
        _by_round(groups, _DRIFT, _mean_over_clients("drift_whole"), from_zero=True),
        _by_round(groups, _SPREAD, _mean_over_clients("spread_whole"), from_zero=True),
        _by_round(groups, _COSINE, _agreement("cosine_whole")),
        _along(groups, f"{_DRIFT} / ‖w‖", last, _relative_drift, "layer", names, log=True),
        _along(groups, _COSINE, last, _agreement("cosine"), "layer", names),
    ]


def feature_panels(groups: Groups, clients: bool = False) -> list[Panel]:
    """Panels of activations, spectra, effective ranks and norms of features.

    Three are along layers or singular values, then three by round. Values are those of the global
    models, or with `clients` means over the clients' models. The first three panels are of the last
    round that all runs share; raises BadInput where there is none.
    """
    last = _last_shared_round(groups)
    names = _common_names(groups, "site")
    title = "clients' models" if clients else "global model"

    def measure(name: str) -> Measure:
        return lambda run: _of_models(run, name, clients)

    def mean_activation(run: Arrays) -> tuple[np.ndarray, np.ndarray]:
        rounds, values = _of_models(run, "activation", clients)
        return rounds, values.mean(1)

    def spectrum(run: Arrays) -> tuple[np.ndarray, np.ndarray]:
        rounds, values = _of_models(run, "spectrum", clients)
        return rounds, np.where(values > _ROUNDING * values[:, :1], values, np.nan)

    def percent_correct(run: Arrays) -> tuple[np.ndarray, np.ndarray]:
        rounds, values = _of_models(run, "accuracy", clients)
        return rounds, 100 * values

    def along(what: str, measure: Measure, axis: str, names: Sequence[str] = ()) -> Panel:
        return _along(groups, what, last, measure, axis, names, title=title, log=True)

    def by_round(what: str, measure: Measure, **how: Any) -> Panel:
        return _by_round(groups, what, measure, title=title, **how)

    return [
        along("activations ‖a‖² / m", measure("activation"), "layer", names),
        along("singular values of features", spectrum, "index"),
        by_round("effective rank of features", measure("effective_rank"), from_zero=True),
        by_round("activations ‖a‖² / m, mean", mean_activation, from_zero=True),
        by_round("norm of features ‖f‖", measure("feature_norm"), from_zero=True),
        by_round("accuracy, %", percent_correct, limits=(0, 100), y_unit="%"),
    ]


def _mean_over_clients(name: str) -> Measure:
    return lambda run: (run["round"], np.nanmean(run[name], 1))


def _agreement(name: str) -> Measure:
    return lambda run: (run["round"], agreement(run[name]))


def _relative_drift(run: Arrays) -> tuple[np.ndarray, np.ndarray]:
    return run["round"], np.nanmean(run["drift"], 1) / run["scale"]


def _of_models(run: Arrays, name: str, clients: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rounds, and at each the global model's value or the mean of the clients'."""
    chosen = (run["client"] != GLOBAL) == clients
    rounds = np.unique(run["round"][chosen])
    means = [run[name][chosen & (run["round"] == round)].mean(0) for round in rounds]
    return rounds, np.array(means)


def _by_round(groups: Groups, what: str, measure: Measure, **how: Any) -> Panel:
    traces = []
    for label, runs in groups.items():
        rounds = _shared_rounds(runs)
        values = []
        for run in runs:
            at, measured = measure(run)
            values.append(measured[np.isin(at, rounds)])
        traces.append(Trace(label, rounds.astype("f8"), np.stack(values)))
    return Panel("round", what, traces, **how)


def _along(
    groups: Groups,
    what: str,
    round: int,
    measure: Measure,
    axis: str,
    names: Sequence[str] = (),
    title: str = "",
    log: bool = False,
) -> Panel:
    """A panel along layers or singular values, at one round."""
    traces = []
    for label, runs in groups.items():
        rows = []
        for run in runs:
            at, measured = measure(run)
            rows.append(measured[at == round][0])
        values = np.stack(rows)
        traces.append(Trace(label, np.arange(1.0, values.shape[1] + 1), values))
    title = f"{title}, round {round}" if title else f"round {round}"
    return Panel(axis, what, traces, names=names, title=title, log=log)


def _shared_rounds(runs: Sequence[Arrays]) -> np.ndarray:
    shared = set(runs[0]["round"].tolist())
    for run in runs[1:]:
        shared &= set(run["round"].tolist())
    return np.array(sorted(shared))


def _last_shared_round(groups: Groups) -> int:
    rounds = _shared_rounds(list(chain.from_iterable(groups.values())))
    if not len(rounds):
        expected = "models stored at a round that all runs share"
        raise BadInput(f"runs: expected {expected}; got none; name others, or fewer")
    return int(rounds[-1])


def _common_names(groups: Groups, axis: str) -> list[str]:
    """The names along an axis where all runs agree on them, else none.

    A `.layer` at the end is left out: it is a module inside a block, which goes without saying.
    """
    found = []
    for run in chain.from_iterable(groups.values()):
        found.append([name.removesuffix(".layer") for name in run[axis].tolist()])
    if any(names != found[0] for names in found):
        return []
    return found[0]
