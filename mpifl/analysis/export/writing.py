"""Exporting runs: long tables as CSV or Parquet, or scalars for TensorBoard."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path

import numpy as np

from mpifl.analysis.export.long_tables import Table, labels, long_tables, of_rounds
from mpifl.options import BadInput
from mpifl.runner.event_file import EVENT_FILES, EventFile, check_installed
from mpifl.store import Run, atomic
from mpifl.terminal import plural, say

KINDS = ("csv", "parquet", "tensorboard")


def export(runs: Sequence[Run], kind: str, folder: Path) -> None:
    """Write the runs into `folder`, as one of KINDS; print what was written.

    Raises BadInput where a library is missing or the folder cannot be made, and OSError where it
    cannot be written.
    """
    if kind == "tensorboard":
        check_installed("export --to tensorboard")
        _export_events(runs, folder)
        return
    if kind == "parquet":
        _check_pyarrow()
    write = {"csv": _write_csv, "parquet": _write_parquet}[kind]
    tables = long_tables(runs)
    _make(folder)
    for name, table in tables.items():
        path = folder / f"{name}.{kind}"
        with atomic.replacing(path) as temporary:
            write(temporary, table)
        say(f"written to {path}: {plural(len(table['run']), 'row')}, {len(table)} columns")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise BadInput(f"{folder}: expected a folder; got {problem.strerror}") from None


def _write_csv(path: Path, table: Table) -> None:
    """Numbers as Python writes them, which lose nothing; NaN is an empty cell."""
    columns = [_cells(column) for column in table.values()]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*columns, strict=True))


def _cells(column: np.ndarray) -> list[object]:
    values = column.tolist()
    if column.dtype.kind != "f":
        return values
    if column.dtype == np.float32:  # the shortest text that is this number, such as 0.1
        values = [float(str(value)) for value in column]
    return [_unless_nan(value) for value in values]


def _unless_nan(value: float) -> float | str:
    return "" if math.isnan(value) else value


def _check_pyarrow() -> None:
    try:
        import_module("pyarrow.parquet")
    except ImportError:
        raise BadInput(
            "export --to parquet: expected the library pyarrow; got none; "
            "`pip install 'mpifl[parquet]'`; --to csv needs nothing"
        ) from None


def _write_parquet(path: Path, table: Table) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {name: pyarrow.array(column, from_pandas=True) for name, column in table.items()}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


# --- TensorBoard ----------------------------------------------------------------------------------


def _export_events(runs: Sequence[Run], folder: Path) -> None:
    """An event file for each run, in a folder of its own; that of an earlier export goes."""
    for label, run in zip(labels(runs), runs, strict=True):
        own = folder / label.strip("/").replace("/", "_")
        _make(own)
        earlier = list(own.glob(EVENT_FILES))
        _write_events(own, run)
        for file in earlier:
            file.unlink()
        rounds = plural(len(run.rounds["round"]), "round")
        say(f"written to {own}: {rounds}; to look at it: tensorboard --logdir {folder}")


def _write_events(folder: Path, run: Run) -> None:
    """Every column of /rounds that has numbers, at the times at which the rounds ended."""
    table = of_rounds(run)
    seconds = np.nan_to_num(table.get("seconds", np.zeros(len(table["round"]))))
    moments = _began(run) + np.cumsum(seconds)
    events = EventFile(folder, first_round=0)
    events.text("config", run.config, moment=_began(run))
    numbers = {name: column for name, column in table.items() if column.dtype.kind in "if"}
    del numbers["round"]
    for place, round in enumerate(table["round"].tolist()):
        values = {name: float(column[place]) for name, column in numbers.items()}
        known = {name: value for name, value in values.items() if np.isfinite(value)}
        events.scalars(round, known, float(moments[place]))
    events.close()


def _began(run: Run) -> float:
    """When the run began, in seconds since 1970; 0 where that is not stored."""
    try:
        return datetime.fromisoformat(str(run.attrs.get("created", ""))).timestamp()
    except ValueError:
        return 0.0
