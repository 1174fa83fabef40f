"""`mpifl sweep SWEEP.toml`: the state of each run of a sweep, and what is missing; without MPI."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mpifl.analysis.runs.listing import age
from mpifl.config import expanded
from mpifl.data import packed
from mpifl.options import BadInput
from mpifl.runner import schema, stored_plugins
from mpifl.store import Run, compatibility, edited_results, lost_results
from mpifl.store.run_folder import CHECKPOINT, RESULTS
from mpifl.sweep.begun import as_begun
from mpifl.sweep.grid import SweepRun, read
from mpifl.terminal import percent, say, say_table, table

DONE = "done"
PARTIAL = "partial"
MISSING = "missing"


@dataclass(frozen=True)
class Status:
    """What the folder of a run holds."""

    state: str
    """done, partial or missing"""
    rounds: int
    """rounds so far"""
    planned: int
    """rounds of the config"""
    accuracy: float = math.nan
    """the last test accuracy; NaN if there is none"""
    last_written: str = ""
    """how long ago the run was last written"""


def overview(path: Path) -> None:
    """Print a table of the sweep's runs; raises BadInput if a folder holds another run."""
    runs = read(path)
    configs = _configs(runs)
    runs = as_begun(runs, configs, runs)
    found = [_status(run, config) for run, config in zip(runs, configs, strict=True)]
    made = table("task", "run", "state", "rounds", "accuracy", "last written", texts=3)
    for number, (run, status) in enumerate(zip(runs, found, strict=True)):
        accuracy = "" if math.isnan(status.accuracy) else percent(status.accuracy)
        rounds = f"{status.rounds} of {status.planned}"
        made.add_row(str(number), run.name, status.state, rounds, accuracy, status.last_written)
    counts = Counter(status.state for status in found)
    summary = ", ".join(f"{counts[state]} {state}" for state in (DONE, PARTIAL, MISSING))
    say_table(f"{len(runs)} runs in {runs[0].out.parent}: {summary}", made)


def lines(path: Path, task: int | None) -> None:
    """Print each run's number, state and folder between tabs, for scripts.

    With `task`, of that run only.
    """
    runs = read(path)
    numbers = list(range(len(runs)))
    if task is not None:
        _check_number(task, runs)
        numbers = [task]
    listed = [runs[number] for number in numbers]
    configs = _configs(listed)
    for number, run, config in zip(numbers, as_begun(listed, configs, runs), configs, strict=True):
        say(f"{number}\t{_status(run, config).state}\t{run.out}")


def missing(path: Path) -> None:
    """Print the numbers of the runs that are not done, as an array range.

    If all are done, print nothing to stdout and a note to stderr.
    """
    runs = read(path)
    configs = _configs(runs)
    _check_data(configs)
    runs = as_begun(runs, configs, runs)
    numbers = []
    for number, (run, config) in enumerate(zip(runs, configs, strict=True)):
        if _status(run, config).state != DONE:
            numbers.append(number)
    if numbers:
        say(ranges(numbers))
    else:
        say(f"mpifl: all {len(runs)} runs of {path} are done", error=True)


def count(path: Path) -> int:
    """How many runs the sweep has; raises BadInput if one of them is wrong."""
    runs = read(path)
    configs = _configs(runs)
    _check_data(configs)
    as_begun(runs, configs, runs)
    return len(runs)


def find(path: Path, number: int) -> tuple[SweepRun, bool]:
    """The run of this number, and whether it is done.

    Raises BadInput also if another run of the sweep is wrong.
    """
    runs = read(path)
    _check_number(number, runs)
    configs = _configs(runs)
    _check_data(configs)
    [run] = as_begun([runs[number]], [configs[number]], runs)
    return run, _status(run, configs[number]).state == DONE


def ranges(numbers: list[int]) -> str:
    """Ascending numbers as an array range.

    >>> ranges([0, 3, 4, 5, 7])
    '0,3-5,7'
    """
    blocks: list[list[int]] = []
    for number in numbers:
        if blocks and number == blocks[-1][-1] + 1:
            blocks[-1].append(number)
        else:
            blocks.append([number])
    return ",".join(_block(block) for block in blocks)


def _block(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


def _check_number(number: int, runs: list[SweepRun]) -> None:
    if number >= len(runs):
        raise BadInput(
            f"--task: expected 0 to {len(runs) - 1}, the numbers of the sweep's runs; got {number}"
        )


def _configs(runs: list[SweepRun]) -> list[schema.Config]:
    """The checked config of every run; BadInput names the first run that is wrong."""
    found = []
    for run in runs:
        try:
            found.append(schema.resolve(schema.raw(run.base, run.assignments)))
        except BadInput as mistake:
            raise BadInput(f"{run.name}: {mistake}") from None
    return found


def _check_data(configs: list[schema.Config]) -> None:
    """Raise BadInput if the packed data of a run is not there."""
    paths = [config.data.path for config in configs if config.data.path]
    for path in dict.fromkeys(paths):  # each once
        packed.describe(expanded(path, "data.path"))


def _status(run: SweepRun, config: schema.Config) -> Status:
    if not (run.out / RESULTS).exists():
        return Status(MISSING, 0, config.rounds)
    if edited_results.are_edited(run.out):  # the task resumes it, from its checkpoint
        return Status(PARTIAL, 0, config.rounds, last_written="edited by another program")
    damage = lost_results.damage(run.out)
    if damage and (run.out / CHECKPOINT).exists():  # likewise
        return Status(PARTIAL, 0, config.rounds, last_written=damage)
    stored = Run.open(run.out)
    compatibility.check_same(str(run.out), stored.config, schema.text(config))
    stored_plugins.refuse_difference(stored, stored_plugins.of_config(config))
    rounds = len(stored.rounds["round"])
    stopped_early = 0 < config.evaluation.reached(stored.rounds) < rounds
    is_done = stored.status == "complete" and (rounds >= config.rounds or stopped_early)
    accuracies = stored.rounds.get("test_accuracy", ())
    measured = [accuracy for accuracy in accuracies if not math.isnan(accuracy)]
    return Status(
        state=DONE if is_done else PARTIAL,
        rounds=rounds,
        planned=config.rounds,
        accuracy=measured[-1] if measured else math.nan,
        last_written=age(stored, datetime.now(UTC)),
    )
