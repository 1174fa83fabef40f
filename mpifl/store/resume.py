"""Load a stopped run for resuming: check it, and go back to the round of its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from mpifl.options import BadInput
from mpifl.store import checkpoint, compatibility, manifest
from mpifl.store.attributes import Attributes
from mpifl.store.hdf5_layout import Entry, Results, software, timestamp
from mpifl.store.reader import Run, as_results
from mpifl.store.run_folder import CHECKPOINT, RESULTS


def load_stopped(folder: Path, config: str, layout: Sequence[Entry], round: int) -> Run:
    """The run in `folder`.

    Raises BadInput unless it may resume after `round` with this config (TOML text) and layout.
    """
    run = Run.open(folder)
    if not run.path.is_dir():
        raise BadInput(f"{folder}: expected a run's folder to resume; got one file")
    compatibility.check_same(str(run.path), run.config, config)
    _check_layout(run, layout)
    rounds = run.rounds["round"].tolist()
    last = rounds[-1] if rounds else 0
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


def results_after(run: Run, config: str, round: int, provenance: Attributes) -> Results:
    """The results of a run up to `round`, for a writer that resumes there.

    `config` and `provenance` are the writer's. Later rounds are left out: they are trained again.
    """
    rows = int((run.rounds["round"] <= round).sum())
    resume = {"time": timestamp(), "round": round, **software(), **provenance}
    return replace(
        as_results(run),
        attributes={**run.attrs, "status": "running", "config": config},
        rounds={name: column[:rows] for name, column in run.rounds.items()},
        clients=run.clients.up_to(rows),
        models={saved: names for saved, names in run.saved_arrays.items() if saved <= round},
        resumes=[*run.resumes, resume],
    )


def _check_layout(run: Run, layout: Sequence[Entry]) -> None:
    given = [Entry(e.name, e.kind, tuple(e.shape), e.offset, e.size) for e in layout]
    for expected, got in zip_longest(run.layout, given):
        if expected != got:
            raise BadInput(
                f"{run.path}: layout: expected {_shown(expected)}; got {_shown(got)}: "
                "this is another model"
            )


def _shown(entry: Entry | None) -> str:
    if entry is None:
        return "no more tensors"
    return f"{entry.kind} {entry.name} of shape {entry.shape} at {entry.offset}"
