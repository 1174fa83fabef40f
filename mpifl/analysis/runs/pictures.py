"""Pictures of the last evaluation: by class, by client, by confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mpifl.analysis.figures.heat_maps import HeatMap
from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.runs.curves import run_name
from mpifl.analysis.runs.groups import Group
from mpifl.analysis.runs.partition_pictures import partition_pictures
from mpifl.analysis.runs.series import class_accuracy
from mpifl.options import BadInput
from mpifl.store import Run

Picture = Panel | HeatMap

_TAIL = 0.1
_SETS = {"test": "test set", "train": "training samples", "own": "own test sets"}
_ALL = (0.0, 100.0)
"""limits of percentages"""


def class_pictures(groups: Sequence[Group], on: str = "test") -> list[Picture]:
    """The accuracy of each class: of the last evaluation, and a map of class by round for each
    group, the mean over its runs. `on`: test, train or own.

    Raises BadInput where a run has not counted by class.
    """
    traces = []
    maps: list[HeatMap] = []
    for group in groups:
        found = [class_accuracy(run, on) for run in group.runs]
        rounds = _shared_rounds([of_run[0] for of_run in found], group.label)
        by_round = []
        for evaluated, accuracy in found:
            by_round.append(100 * accuracy[np.isin(evaluated, rounds)])
        names = [run_name(run) for run in group.runs]
        of_class = np.array([accuracy[-1] for accuracy in by_round])
        traces.append(Trace(group.label, np.arange(of_class.shape[1]), of_class, names))
        mean = np.mean(by_round, axis=0).T
        maps.append(
            HeatMap(
                group.label,
                "round",
                "class",
                "accuracy, %",
                rounds,
                np.arange(len(mean)),
                mean,
                (0.0, 100.0),
            )
        )
    title = f"last evaluation, {_SETS[on]}"
    dots = Panel("class", "accuracy, %", traces, title, limits=_ALL, line=False, y_unit="%")
    return [dots, *maps]


def _shared_rounds(evaluated: Sequence[np.ndarray], label: str) -> np.ndarray:
    shared = evaluated[0]
    for rounds in evaluated[1:]:
        shared = np.intersect1d(shared, rounds)
    if not len(shared):
        raise BadInput(f"{label}: expected evaluations in rounds that all runs share; got none")
    return shared


def client_pictures(groups: Sequence[Group]) -> list[Picture]:
    """Each client's accuracy, from the lowest to the highest, with the worst tenth marked.

    On their own test sets by the global model, for clients that train and for those that never do.
    Without own test sets, the latest accuracy that each client has reported. Raises BadInput where
    there is neither.
    """
    if all("own_right_by_client" in run.evaluations for group in groups for run in group.runs):
        pictures = [_sorted_clients(groups, _trained, "own test sets of clients that train")]
        if any(not run.trains.all() for group in groups for run in group.runs):
            pictures.append(_sorted_clients(groups, _unseen, "clients that never train"))
        return [picture for picture in pictures if picture is not None]
    by_test = all("test_accuracy" in run.clients.reported for group in groups for run in group.runs)
    if by_test:
        return _some(_sorted_clients(groups, _own_model, "each client's model on the test set"))
    return _some(_sorted_clients(groups, _training, "each client on its training batches"))


def _some(panel: Panel | None) -> list[Picture]:
    if panel is None:
        raise BadInput(
            "runs: expected accuracies of clients; got none; runs with [holdout] or "
            "evaluation.clients measure them"
        )
    return [panel]


Accuracies = dict[int, tuple[float, str]]
"""client -> accuracy, and what else is known of it"""


def _trained(run: Run) -> Accuracies:
    return _own(run, run.trains)


def _unseen(run: Run) -> Accuracies:
    return _own(run, ~run.trains)


def _own(run: Run, of: np.ndarray) -> Accuracies:
    """Of the clients `of` (bool [C]) that have samples, in the last evaluation."""
    right = run.evaluations["own_right_by_client"][-1]
    samples = run.evaluations["own_samples_by_client"]
    found = {}
    for client in np.flatnonzero(of & (samples > 0)).tolist():
        found[client] = (right[client] / samples[client], f"{samples[client]:,} samples")
    return found


def _own_model(run: Run) -> Accuracies:
    return _reported(run, "test_accuracy")


def _training(run: Run) -> Accuracies:
    return _reported(run, "accuracy")


def _reported(run: Run, name: str) -> Accuracies:
    """What each client reported in the last round in which it did."""
    found: Accuracies = {}
    cohorts = run.clients
    if name not in cohorts.reported:
        return found
    values = cohorts.reported[name]
    for place, round in enumerate(run.rounds["round"].tolist()):
        begin = cohorts.offsets[place]
        end = cohorts.offsets[place + 1]
        for client, value in zip(cohorts.ids[begin:end], values[begin:end], strict=True):
            if np.isfinite(value):
                found[int(client)] = (float(value), f"round {round}")
    return found


def _sorted_clients(
    groups: Sequence[Group], accuracies: Callable[[Run], Accuracies], title: str
) -> Panel | None:
    """None where a run has no accuracies of such clients."""
    traces = []
    fewest = 0
    for group in groups:
        found = [accuracies(run) for run in group.runs]
        fewest = min(len(of_run) for of_run in found)
        if not fewest:
            return None
        values = []
        texts = []
        for of_run in found:
            by_accuracy = sorted((of_run[client][0], client) for client in of_run)
            ordered = [client for _, client in by_accuracy]
            places = np.rint(np.linspace(0, len(ordered) - 1, fewest)).astype(int)
            chosen = [ordered[place] for place in places]
            values.append([100 * of_run[client][0] for client in chosen])
            texts.append([f"client {client}, {of_run[client][1]}" for client in chosen])
        names = [run_name(run) for run in group.runs]
        ranks = np.arange(1, fewest + 1)
        traces.append(Trace(group.label, ranks, np.array(values), names, texts=texts))
    tail = max(1, int(_TAIL * fewest + 1e-9))
    return Panel(
        "clients, from the lowest to the highest",
        "accuracy, %",
        traces,
        title,
        shaded=(0.5, tail + 0.5),
        shaded_as="worst tenth",
        limits=_ALL,
        y_unit="%",
    )


def calibration_pictures(groups: Sequence[Group], on: str = "test") -> list[Picture]:
    """A reliability diagram of the last evaluation, and how many samples each bin has.

    Above the diagonal a model is less sure than it is right. Bins without samples are left out.
    Raises BadInput where a run has not counted by bin.
    """
    right: list[Trace] = []
    shares: list[Trace] = []
    for group in groups:
        bins = [_bins(run, on) for run in group.runs]
        count, correct, confidence = (np.array(parts) for parts in zip(*bins, strict=True))
        known = (count > 0).all(0)
        count, correct, confidence = (part[:, known] for part in (count, correct, confidence))
        x = 100 * confidence.sum(0) / count.sum(0)
        errors = np.abs(correct - confidence).sum(1) / count.sum(1)
        label = f"{group.label}, error {100 * errors.mean():.1f} %"
        names = [run_name(run) for run in group.runs]
        right.append(Trace(label, x, 100 * correct / count, names))
        shares.append(Trace(label, x, 100 * count / count.sum(1, keepdims=True), names))
    title = f"reliability, {_SETS[on]}"
    reliability = _by_confidence("accuracy, %", right, title, diagonal=True)
    return [reliability, _by_confidence("samples, %", shares, "samples by confidence")]


def _by_confidence(
    y_title: str, traces: Sequence[Trace], title: str, diagonal: bool = False
) -> Panel:
    return Panel(
        "confidence, %",
        y_title,
        traces,
        title,
        limits=_ALL,
        whole=False,
        x_unit="%",
        y_unit="%",
        diagonal=diagonal,
    )


def _bins(run: Run, on: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples, right ones and summed confidence of each bin (n), in the last evaluation that has
    them.
    """
    name = f"{on}_count_by_bin"
    if name not in run.evaluations:
        raise BadInput(
            f"{run.path}: expected {name} in /evaluations; got none: it was not evaluated yet, or "
            "by an older mpifl"
        )
    last = np.flatnonzero((run.evaluations[name] >= 0).all(1))[-1]
    parts = ("count", "right", "confidence")
    count, right, confidence = (run.evaluations[f"{on}_{p}_by_bin"][last] for p in parts)
    return count.astype("f8"), right.astype("f8"), confidence.astype("f8")


PICTURES: dict[str, Callable[[Sequence[Group], str], Sequence[Picture]]] = {
    "classes": class_pictures,
    "clients": lambda groups, on: client_pictures(groups),
    "calibration": calibration_pictures,
    "partition": lambda groups, on: partition_pictures(groups),
}
"""by the word of `mpifl curves --what`; the second argument is the set of --on"""
