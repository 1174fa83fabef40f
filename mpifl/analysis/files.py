"""The files that an analysis writes: whole or not at all, in a form that the suffix names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from mpifl.options import BadInput
from mpifl.store import atomic
from mpifl.terminal import say


def check_suffixes(paths: Iterable[Path], allowed: Iterable[str]) -> None:
    """Raise BadInput for a file whose suffix is not `allowed`; call it before any work is done."""
    allowed = list(allowed)
    for path in paths:
        if path.suffix.removeprefix(".") not in allowed:
            expected = f"a name ending in .{', .'.join(allowed)}"
            raise BadInput(f"{path}: expected {expected}; got {path.suffix or 'none'}")


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file, make its folder if need be, and say so. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, data)
    say(f"written to {path}")


def csv_text(rows: Sequence[dict[str, str | int | float]]) -> str:
    """Rows as CSV, with the columns of all of them; NaN is an empty field."""
    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        known = {name: value for name, value in row.items() if value == value}  # no NaN
        writer.writerow(known)
    return text.getvalue()
