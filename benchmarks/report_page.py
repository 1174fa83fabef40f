"""The page of `mpifl report` about many long runs: how long it takes, and how large it is.

The runs have what a run of 500 rounds of 100 clients stores that is tested in every round, on the
test set, on own test sets and on the training samples; their numbers are a short run's with noise.
"""

from __future__ import annotations

import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np

import mpifl
from benchmarks.pairs import Stopwatch
from benchmarks.report import Row
from mpifl.store import Run, atomic
from mpifl.store.hdf5_layout import results_image
from mpifl.store.reader import as_results
from mpifl.store.round_tables import Cohorts
from mpifl.store.run_folder import RESULTS

_METHODS = 10
_SEEDS = 3
_ROUNDS = 500
_MOST_SECONDS = 20.0
_MOST_BYTES = 10e6
_CONFIG = {
    "name": "many",
    "rounds": 2,
    "clients": 100,
    "participation": {"kind": "fixed", "fraction": 0.1},
    "data": {
        "name": "synthetic",
        "options": {"shape": [1, 4, 4], "classes": 100, "train": 20_000, "test": 2_000},
    },
    "partition": {"name": "dirichlet", "alpha": 0.3},
    "holdout": {"ratio": 4, "clients": 0.2},
    "evaluation": {"train_every": 1},
    "model": {"name": "mlp", "hidden": [4]},
    "local": {"lr": 0.25, "steps": 1},
}


def report_page() -> list[Row]:
    """The report over 30 runs of 500 rounds, against 20 s and 10 MB."""
    from mpifl.analysis import group, open_runs
    from mpifl.analysis.report.build import report

    with tempfile.TemporaryDirectory() as folder:
        paths = _runs(Path(folder))
        watch = Stopwatch()
        page = report(group(open_runs(paths))).encode()
        seconds = watch.lap()
    what = f"{len(paths)} runs x {_ROUNDS} rounds"
    return [
        Row.counted(f"{what}: seconds / 20", seconds.wall, _MOST_SECONDS, note="busy or not"),
        Row.counted(f"{what}: CPU seconds / 20", seconds.cpu, _MOST_SECONDS, 1.0),
        Row.counted(f"{what}: bytes / 10 MB", float(len(page)), _MOST_BYTES, 1.0),
    ]


def _runs(folder: Path) -> list[Path]:
    """Folders of runs: methods that differ in the learning rate, of several seeds each."""
    short = mpifl.run(_CONFIG, out=folder / "short", quiet=True)
    assert isinstance(short, Run)
    paths = []
    for method in range(_METHODS):
        for seed in range(_SEEDS):
            path = folder / f"method-{method}-{seed}"
            path.mkdir()
            _write_stretched(short, path, method, seed)
            paths.append(path)
    return paths


def _write_stretched(short: Run, path: Path, method: int, seed: int) -> None:
    """Write a run of _ROUNDS rounds whose values are those of a short one, with noise."""
    noise = np.random.default_rng((method, seed))
    config = short.config.replace("seed = 1", f"seed = {seed}", 1)
    config = config.replace("lr = 0.25", f"lr = {0.25 + method / 100}", 1)
    results = as_results(short)
    rounds = {}
    for name, column in results.rounds.items():
        rounds[name] = _stretched(column, noise)
    rounds["round"] = np.arange(1, _ROUNDS + 1)
    evaluations = {}
    for name, array in results.evaluations.items():
        is_by_round = name == "round" or array.ndim == 2
        evaluations[name] = np.resize(array, (_ROUNDS, *array.shape[1:])) if is_by_round else array
    evaluations["round"] = rounds["round"]
    attributes = {**results.attributes, "run_id": str(uuid.uuid4()), "seed": seed, "config": config}
    image = results_image(
        replace(
            results,
            attributes=attributes,
            rounds=rounds,
            evaluations=evaluations,
            clients=_stretched_clients(short),
            models={},
        )
    )
    atomic.write_hdf5(path / RESULTS, image)


def _stretched(column: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    long = np.resize(column, _ROUNDS)
    if column.dtype.kind != "f":
        return long
    return long * noise.uniform(0.8, 1.0, _ROUNDS)


def _stretched_clients(short: Run) -> Cohorts:
    """The cohorts of the short run again and again."""
    cohorts = short.clients
    first = slice(int(cohorts.offsets[0]), int(cohorts.offsets[1]))
    size = first.stop - first.start
    reported = {name: np.tile(values[first], _ROUNDS) for name, values in cohorts.reported.items()}
    offsets = size * np.arange(_ROUNDS + 1)
    return Cohorts(cohorts.clients, np.tile(cohorts.ids[first], _ROUNDS), offsets, reported)
