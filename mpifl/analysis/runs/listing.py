"""Runs among other files, and a table with a line for each run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mpifl.analysis.runs.columns import evaluated
from mpifl.analysis.runs.groups import options
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.run_folder import RESULTS
from mpifl.store.watching import why_dead
from mpifl.terminal import percent, plural, say, say_table, table

_HDF5 = b"\x89HDF\r\n\x1a\n"
"""the first bytes of an HDF5 file"""


def only_runs(paths: Iterable[str]) -> list[str]:
    """The paths of runs; prints to stderr which others are passed over.

    Folders without results.h5 and files of another kind, such as pictures, are passed over. What is
    not there, or a damaged run, is left to the reader, which refuses it.
    """
    runs = []
    others = []
    for path in paths:
        if _is_something_else(Path(path)):
            others.append(path)
        else:
            runs.append(path)
    if others:
        say(f"passed over, no run is there: {', '.join(others)}", error=True)
    return runs


def _is_something_else(path: Path) -> bool:
    if path.is_dir():
        return not (path / RESULTS).exists()
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_HDF5)) != _HDF5


def holds_runs(path: str) -> bool:
    """Whether it is no run, but a folder with runs in it."""
    folder = Path(path)
    return not (folder / RESULTS).exists() and any(folder.glob(f"*/{RESULTS}"))


def with_folders(paths: Iterable[str]) -> list[str]:
    """The paths, with the runs of a folder of runs in its place, in the order of their names."""
    found = []
    for path in paths:
        if holds_runs(path):
            found += [str(results.parent) for results in sorted(Path(path).glob(f"*/{RESULTS}"))]
        else:
            found.append(path)
    return found


def list_runs(paths: Sequence[str]) -> None:
    """Print a line for each run. Raises BadInput if there is none."""
    runs = only_runs(paths)
    if not runs:
        raise BadInput("runs: expected at least one run; got none")
    made = table("run", "name", "status", "rounds", "accuracy", "best", "last written", texts=3)
    now = datetime.now(UTC)
    for path in runs:
        try:
            made.add_row(*_cells(path, Run.open(path), now))
        except BadInput as error:
            made.add_row(path, "", "not readable")
            say(f"mpifl: {error}", error=True)
    say_table(plural(len(runs), "run"), made)


def _cells(path: str, run: Run, now: datetime) -> list[str]:
    config = options(run)
    rounds = str(len(run.rounds["round"]))
    if "rounds" in config:
        rounds += f" of {config['rounds']}"
    _, accuracy = evaluated(run)
    last = ""
    best = ""
    if len(accuracy):
        last = percent(accuracy[-1])
        best = percent(accuracy.max())
    status = "dead" if why_dead(run) else run.status
    return [path, str(config.get("name", "")), status, rounds, last, best, age(run, now)]


def age(run: Run, now: datetime) -> str:
    """How long ago a run was last written, in words."""
    seconds = seconds_since_written(run, now)
    return "" if math.isnan(seconds) else f"{ago(seconds)} ago"


def seconds_since_written(run: Run, now: datetime) -> float:
    """NaN for a run without the time of its last commit."""
    try:
        written = datetime.fromisoformat(str(run.attrs["updated"]))
        return (now - written).total_seconds()
    except (KeyError, ValueError, TypeError):  # no time, or one without a time zone
        return math.nan


def ago(seconds: float) -> str:
    """A time that has passed, in its largest unit.

    >>> ago(59), ago(60), ago(3 * 3600 + 100), ago(40 * 86400)
    ('59 s', '1 min', '3 h', '40 d')
    """
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
