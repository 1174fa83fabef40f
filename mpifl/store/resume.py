"""What a stopped run is gone on with: checked to be the same run, and its rounds up to the one that
it goes back to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from mpifl.options import BadInput
from mpifl.store import checkpoint, compatibility
from mpifl.store.hdf5_layout import Entry, Results, software, timestamp
from mpifl.store.reader import Run


def opened(folder: Path, config: str, layout: Sequence[Entry], round: int) -> Run:
    """The run in `folder`, if it may go on after `round` with `config` (TOML text) and `layout`;
    else BadInput.
    """
    run = Run.open(folder)
    if not run.path.is_dir():
        raise BadInput(f"{folder}: expected a run's folder to go on with; got one file")
    compatibility.check_same(str(run.path), run.config, config)
    _check_layout(run, layout)
    last = int(run.rounds["round"][-1]) if len(run.rounds["round"]) else 0
    if last < round:
        raise BadInput(
            f"{run.file}: expected rounds up to {round}, that of the checkpoint; got rounds up to {last}"
        )
    checkpoint.check_run(run.path, round, run.run_id, run.config)
    return run


def kept(
    run: Run, config: str, round: int, provenance: Mapping[str, str | int | float | list]
) -> Results:
    """The run as it was after `round`, and who goes on with it: what comes after is to be done
    again.
    """
    rows = int((run.rounds["round"] <= round).sum())
    resume = {"time": timestamp(), "round": round, **software(), **provenance}
    return Results(
        {**run.attrs, "status": "running", "config": config},
        run.provenance,
        run.layout,
        {"indices": run.indices, "offsets": run.offsets, "label_counts": run.label_counts},
        {name: column[:rows] for name, column in run.rounds.items()},
        run.clients.upto(rows),
        {saved: arrays for saved, arrays in run.saved_arrays.items() if saved <= round},
        [*run.resumes, resume],
    )


def _check_layout(run: Run, layout: Sequence[Entry]) -> None:
    given_layout = (Entry(e.name, e.kind, tuple(e.shape), e.offset, e.size) for e in layout)
    for mine, given in zip_longest(run.layout, given_layout):
        if mine != given:
            raise BadInput(
                f"{run.path}: layout: expected {_told(mine)}; got {_told(given)}: this is another model"
            )


def _told(entry: Entry | None) -> str:
    return (
        f"{entry.kind} {entry.name} of shape {entry.shape} at {entry.offset}"
        if entry
        else "no more tensors"
    )
