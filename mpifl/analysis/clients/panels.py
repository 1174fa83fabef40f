"""Drift and features of groups of runs as panels: by round, and layer by layer at the last round
that all share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mpifl.analysis.clients.drift import agreement
from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.options import BadInput

Arrays = dict[str, np.ndarray]
"""what `drift` or `features` gives for one run"""

Groups = dict[str, Sequence[Arrays]]
"""the runs of each group, by its label"""

Measure = Callable[[Arrays], tuple[np.ndarray, np.ndarray]]
"""of one run: rounds [R], and at each a number, [R], or several, [R, n]"""

_DRIFT, _SPREAD, _COSINE = "drift ‖y − w‖", "spread ‖y − ȳ‖", "cosine of updates"

_ROUNDING = 1e-9
"""singular values below this share of the largest are what rounding leaves of zero"""


def drift_panels(groups: Groups) -> list[Panel]:
    """How far clients go from what they were sent, and whether they agree: means over clients, or
    pairs of them.

    Three panels by round, then two by layer at the last round that all runs share. Raises BadInput
    where there is none.
    """
    at = _last(groups)
    names = _names(groups, "layer")
    return [
        _by_round(
            groups,
            _DRIFT,
            lambda run: (run["round"], np.nanmean(run["drift_whole"], 1)),
            from_zero=True,
        ),
        _by_round(
            groups,
            _SPREAD,
            lambda run: (run["round"], np.nanmean(run["spread_whole"], 1)),
            from_zero=True,
        ),
        _by_round(groups, _COSINE, lambda run: (run["round"], agreement(run["cosine_whole"]))),
        _along(
            groups,
            f"{_DRIFT} / ‖w‖",
            at,
            lambda run: (run["round"], _relative_drift(run)),
            "layer",
            names,
            log=True,
        ),
        _along(
            groups,
            _COSINE,
            at,
            lambda run: (run["round"], agreement(run["cosine"])),
            "layer",
            names,
        ),
    ]


def feature_panels(groups: Groups, clients: bool = False) -> list[Panel]:
    """Activations, spectra, effective ranks and norms of features: of the global models, or the
    means of clients'.

    Three panels at the last round that all runs share, then three by round. Raises BadInput where
    there is none.
    """
    at, names = _last(groups), _names(groups, "site")

    def of(name: str) -> Measure:
        return lambda run: _of_models(run, name, clients)

    def strength(run: Arrays) -> tuple[np.ndarray, np.ndarray]:
        rounds, values = _of_models(run, "activation", clients)
        return rounds, values.mean(1)

    def spread(run: Arrays) -> tuple[np.ndarray, np.ndarray]:
        rounds, values = _of_models(run, "spectrum", clients)
        return rounds, np.where(values > _ROUNDING * values[:, :1], values, np.nan)

    def right(run: Arrays) -> tuple[np.ndarray, np.ndarray]:
        rounds, values = _of_models(run, "accuracy", clients)
        return rounds, 100 * values

    whose = {"title": "clients' models" if clients else "global model"}
    return [
        _along(
            groups, "activations ‖a‖² / m", at, of("activation"), "layer", names, log=True, **whose
        ),
        _along(groups, "singular values of features", at, spread, "number", log=True, **whose),
        _by_round(
            groups, "effective rank of features", of("effective_rank"), from_zero=True, **whose
        ),
        _by_round(groups, "activations ‖a‖² / m, mean", strength, from_zero=True, **whose),
        _by_round(groups, "norm of features ‖f‖", of("feature_norm"), from_zero=True, **whose),
        _by_round(groups, "accuracy, %", right, limits=(0, 100), **whose),
    ]


def _relative_drift(run: Arrays) -> np.ndarray:
    return np.nanmean(run["drift"], 1) / run["scale"]


def _of_models(run: Arrays, name: str, clients: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rounds, and at each the global model's figure or the mean of the clients'."""
    chosen = (run["client"] != GLOBAL) == clients
    rounds = np.unique(run["round"][chosen])
    return rounds, np.array(
        [run[name][chosen & (run["round"] == round)].mean(0) for round in rounds]
    )


def _by_round(groups: Groups, what: str, measure: Measure, **how) -> Panel:
    traces = []
    for label, runs in groups.items():
        rounds = _shared(runs)
        values = [values[np.isin(at, rounds)] for at, values in map(measure, runs)]
        traces.append(Trace(label, rounds.astype("f8"), np.stack(values)))
    return Panel("round", what, traces, **how)


def _along(
    groups: Groups,
    what: str,
    round: int,
    measure: Measure,
    along: str,
    names: Sequence[str] = (),
    **how,
) -> Panel:
    """A panel along layers or singular values, at one round."""
    traces = []
    for label, runs in groups.items():
        values = np.stack([values[at == round][0] for at, values in map(measure, runs)])
        traces.append(Trace(label, np.arange(1.0, values.shape[1] + 1), values))
    how["title"] = ", ".join(filter(None, (how.get("title"), f"round {round}")))
    return Panel(along, what, traces, names=names, **how)


def _shared(runs: Sequence[Arrays]) -> np.ndarray:
    return np.array(sorted(set.intersection(*(set(run["round"].tolist()) for run in runs))))


def _last(groups: Groups) -> int:
    rounds = _shared([run for runs in groups.values() for run in runs])
    if not len(rounds):
        raise BadInput(
            "runs: expected models stored at a round that all runs share; got none; name others, or fewer"
        )
    return int(rounds[-1])


def _names(groups: Groups, of: str) -> list[str]:
    """The names along an axis where all runs agree on them, else none; `layer` inside a block goes
    without saying.
    """
    every = [
        [name.removesuffix(".layer") for name in run[of].tolist()]
        for runs in groups.values()
        for run in runs
    ]
    return every[0] if all(names == every[0] for names in every) else []
