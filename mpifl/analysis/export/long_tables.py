"""Runs as long tables: one row for each observation, one column for each variable.

`runs` has a row for each run, with its options; `rounds` for each round; `clients` for each client
of each round; `evaluations` for each client, class, domain or bin of confidence of each evaluation.
The column `run` joins them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpifl.analysis.runs.groups import options
from mpifl.analysis.runs.series import has, series
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.evaluations import NAMES, axis_of

Table = dict[str, np.ndarray]
"""columns of the same length, by name"""

TABLES = ("runs", "rounds", "clients", "evaluations")

_OF_TRAINING = ("training_loss", "training_accuracy")
_SUMS = ("loss", "confidence")
"""in /evaluations, over samples: means of them are exported"""


def long_tables(runs: Sequence[Run]) -> dict[str, Table]:
    """The tables of these runs by name, without those that none of them has rows for.

    Each is a dict of columns, which `pandas.DataFrame` takes. A column that a run lacks is NaN, or
    empty text, in its rows.
    """
    names = labels(runs)
    parts: dict[str, list[Table]] = {name: [] for name in TABLES}
    parts["runs"] = [_of_run(run) for run in runs]
    for run in runs:
        parts["rounds"].append(of_rounds(run))
        parts["clients"].append(_of_clients(run))
        parts["evaluations"].append(_of_evaluations(run))
    tables = {}
    for name, found in parts.items():
        table = _joined(names, found)
        if len(table["run"]):
            tables[name] = table
    return tables


def labels(runs: Sequence[Run]) -> list[str]:
    """A short text for each run: its folder's name, or its path where two have the same."""
    names = [run.path.name.removesuffix(".h5") for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    if len(set(names)) < len(names):
        raise BadInput(f"runs: expected each run once; got {', '.join(names)}")
    return names


def _of_run(run: Run) -> Table:
    facts: dict[str, Any] = {
        "path": str(run.path),
        "run_id": run.run_id,
        "status": run.status,
        "created": str(run.attrs.get("created", "")),
    }
    for name, value in options(run).items():
        facts[name] = json.dumps(value) if isinstance(value, tuple | dict) else value
    return {name: _column([value]) for name, value in facts.items()}


def _column(values: list[Any]) -> np.ndarray:
    column = np.array(values)
    return column.astype(object) if column.dtype.kind in "OU" else column


def of_rounds(run: Run) -> Table:
    """/rounds, and the means of the clients' training loss and accuracy."""
    table = {"round": run.rounds["round"], **run.rounds}
    for name in _OF_TRAINING:
        if has(run, name):
            rounds, values = series(run, name)
            column = np.full(len(run.rounds["round"]), np.nan)
            column[np.isin(run.rounds["round"], rounds)] = values
            table[name] = column
    return table


def _of_clients(run: Run) -> Table:
    """A row for each client of each round's cohort."""
    known = run.clients
    sizes = np.diff(run.offsets)
    table = {
        "round": np.repeat(run.rounds["round"], np.diff(known.offsets)),
        "client": known.ids,
        "num_samples": sizes[known.ids],
    }
    for name, values in known.reported.items():
        table[name] = values
    return table


def _of_evaluations(run: Run) -> Table:
    """A row for each client, class, domain and bin of each evaluation of each set of samples.

    Sums over samples become means. What was not evaluated in a round, and what has no samples, has
    no row.
    """
    arrays = run.evaluations
    found: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if name not in ("round", NAMES):
            axis = axis_of(name)
            of, _, what = name.removesuffix(f"_by_{axis}").partition("_")
            found.setdefault((of, axis), {})[what] = array
    parts = []
    for (of, axis), counts in found.items():
        parts.append(_of_set(arrays["round"], of, axis, counts, arrays.get(NAMES)))
    if not parts:
        return {"round": np.zeros(0, "i8")}
    return _stacked(parts)


def _of_set(
    rounds: np.ndarray,
    of: str,
    axis: str,
    counts: Mapping[str, np.ndarray],
    domains: np.ndarray | None,
) -> Table:
    right = counts["right"]
    evaluations, length = right.shape
    samples = counts["samples"] if "samples" in counts else counts["count"]
    samples = np.broadcast_to(samples, right.shape)
    kept = ((right >= 0) & (samples > 0)).ravel()
    numbers = np.tile(np.arange(length), evaluations)
    names = numbers.astype(str).astype(object)
    if axis == "domain" and domains is not None:
        names = np.tile(domains, evaluations)
    total = samples.ravel()[kept]
    table = {
        "round": np.repeat(rounds, length)[kept],
        "set": np.full(kept.sum(), of, object),
        "by": np.full(kept.sum(), axis, object),
        "number": numbers[kept],
        "name": names[kept],
        "samples": total,
        "right": right.ravel()[kept],
        "accuracy": right.ravel()[kept] / total,
    }
    for name in _SUMS:
        if name in counts:
            table[name] = counts[name].ravel()[kept] / total
    return table


# --- tables below each other ----------------------------------------------------------------------


def _joined(labels: Sequence[str], tables: Sequence[Table]) -> Table:
    """The runs' tables below each other, with the column `run`."""
    labelled = []
    for label, table in zip(labels, tables, strict=True):
        rows = len(next(iter(table.values())))
        labelled.append({"run": np.full(rows, label, object), **table})
    return _stacked(labelled)


def _stacked(tables: Sequence[Table]) -> Table:
    """Tables below each other. Where columns are missing, numbers are NaN and texts empty."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: _stack(name, tables) for name in names}


def _stack(name: str, tables: Sequence[Table]) -> np.ndarray:
    known = [table[name] for table in tables if name in table]
    is_text = any(column.dtype.kind == "O" for column in known)
    pieces = []
    for table in tables:
        rows = len(next(iter(table.values())))
        piece = table.get(name)
        if piece is None:
            piece = np.full(rows, "" if is_text else np.nan, object if is_text else "f8")
        if is_text and piece.dtype.kind != "O":  # a number for one run, a text for another
            piece = np.array([str(value) for value in piece.tolist()], object)
        pieces.append(piece)
    return np.concatenate(pieces)
