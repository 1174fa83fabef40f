"""Load a stopped run for resuming: check it, and go back to the round of its checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mpifl.flat_layout import Entry
from mpifl.options import BadInput
from mpifl.store import checkpoint, compatibility, manifest, plugin_texts
from mpifl.store.attributes import Attributes
from mpifl.store.contents import (
    LOST_UNTIL,
    OTHER_PLUGINS,
    OTHER_SCHEDULE,
    OTHER_SCHEDULE_UNTIL,
    Results,
    software,
    timestamp,
)
from mpifl.store.evaluations import EvaluationTable
from mpifl.store.plugin_texts import StoredPlugin
from mpifl.store.reader import Run, as_results
from mpifl.store.run_folder import CHECKPOINT, RESULTS
from mpifl.store.timeline import TimelineTable

_DATA = {
    "data_checksum": "checksum",
    "data_mean": "mean by channel",
    "data_std": "standard deviation by channel",
}
"""what is stored of a run's data in its provenance, in words"""


class Resuming(NamedTuple):
    """What a writer has, to continue a stopped run with."""

    config: str
    """TOML text"""
    layout: Sequence[Entry]
    partition: tuple[np.ndarray, np.ndarray, np.ndarray]
    """a Partition or its three arrays"""
    provenance: Attributes
    marks: Attributes
    """the run's attributes about other schedules and plugins, in place of those that it has"""
    plugins: Sequence[StoredPlugin] = ()


def load_stopped(folder: Path, resuming: Resuming, round: int) -> Run:
    """The run in `folder`. Raises BadInput unless `resuming` may continue it after `round`."""
    run = Run.open(folder)
    if not run.path.is_dir():
        raise BadInput(f"{folder}: expected a run's folder to resume; got one file")
    knows_data = "data_checksum" in run.provenance
    compatibility.check_same(str(run.path), run.config, resuming.config, free_sources=knows_data)
    _check_data(run, resuming.provenance)
    _check_start(run, resuming.provenance)
    _check_partition(run, resuming.partition)
    _check_layout(run, resuming.layout)
    rounds = run.rounds["round"].tolist()
    last = rounds[-1] if rounds else int(run.attrs.get(LOST_UNTIL, 0))
    if last < round:
        raise BadInput(
            f"{run.file}: expected rounds up to {round}, that of the checkpoint; "
            f"got rounds up to {last}"
        )
    checkpoint.check_run(run.path, round, run.run_id, run.config)
    if round == 0 and last > 0 and manifest.read(run.path) is None:
        raise BadInput(
            f"{run.path / CHECKPOINT}: expected the checkpoint that the run continues from; got "
            f"none, beside {last} rounds in {RESULTS}; allowed: put the folder {CHECKPOINT} back "
            "where it was, or --force to delete the run and begin again at round 1"
        )
    return run


def results_after(run: Run, resuming: Resuming, round: int) -> Results:
    """The results of a run up to `round`, for a writer that resumes there.

    Later rounds are left out: they are trained again.
    """
    rows = int((run.rounds["round"] <= round).sum())
    resume = {"time": timestamp(), "round": round, **software(), **resuming.provenance}
    attributes = {**run.attrs, "status": "running", "config": resuming.config}
    for name in (OTHER_SCHEDULE, OTHER_SCHEDULE_UNTIL, OTHER_PLUGINS):
        attributes.pop(name, None)
    return replace(
        as_results(run),
        attributes={**attributes, **resuming.marks},
        rounds={name: column[:rows] for name, column in run.rounds.items()},
        clients=run.clients.up_to(rows),
        models={saved: names for saved, names in run.saved_arrays.items() if saved <= round},
        resumes=[*run.resumes, resume],
        evaluations=EvaluationTable(run.evaluations).up_to(round).arrays(),
        timeline=TimelineTable(run.timeline).up_to(round).arrays(),
        plugins=plugin_texts.resumed(run.plugins, resuming.plugins, round),
    )


def _check_data(run: Run, provenance: Attributes) -> None:
    """Raise BadInput if the data are not those of the run, as far as it stored what they are."""
    for name, what in _DATA.items():
        expected = run.provenance.get(name)
        got = provenance.get(name, expected)
        if expected is not None and got != expected:
            raise BadInput(
                f"{run.path}: data: expected those that the run was begun with ({what} "
                f"{_short(expected)}); got others ({_short(got)}); allowed: the same data, from "
                "any path"
            )


def _check_start(run: Run, provenance: Attributes) -> None:
    """Raise BadInput if a run that stored its first weights would now start from others."""
    expected = run.provenance.get("initial_weights")
    got = provenance.get("initial_weights", expected)
    if 0 in run.saved_rounds and got != expected:
        raise BadInput(
            f"{run.path}: init: expected the weights that the run was begun with (SHA-256 "
            f"{_short(expected)}); got others ({_short(got)}); allowed: the same weights, from any "
            "path"
        )


def _check_partition(run: Run, partition: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    expected = _partition_digest(run.indices, run.offsets)
    got = _partition_digest(partition[0], partition[1])
    if got != expected:
        raise BadInput(
            f"{run.path}: partition: expected that of the run (SHA-256 {_short(expected)}); got "
            f"another ({_short(got)}); allowed: the data and partition.path that it was begun "
            "with, with nothing changed there"
        )


def _partition_digest(indices: np.ndarray, offsets: np.ndarray) -> str:
    """SHA-256 in hex of which client has which samples."""
    digest = hashlib.sha256(indices.astype("<i8").tobytes())
    digest.update(offsets.astype("<i8").tobytes())
    return digest.hexdigest()


def _short(value: object) -> str:
    return value[:16] if isinstance(value, str) else str(value)


def _check_layout(run: Run, layout: Sequence[Entry]) -> None:
    for expected, got in zip_longest(run.layout, layout):
        if expected != got:
            raise BadInput(
                f"{run.path}: layout: expected {_shown(expected)}; got {_shown(got)}: "
                "this is another model"
            )


def _shown(entry: Entry | None) -> str:
    if entry is None:
        return "no more tensors"
    return f"{entry.kind} {entry.name} of shape {entry.shape} at {entry.offset}"
