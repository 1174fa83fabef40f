"""`mpifl sweep SWEEP.toml`: what there is of each run of a grid, and what is missing; no MPI is
needed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mpifl.data import packed
from mpifl.options import BadInput
from mpifl.runner import schema
from mpifl.store import Run, compatibility
from mpifl.store.run_folder import RESULTS
from mpifl.sweep.grid import Cell, read
from mpifl.terminal import say, say_table, table

DONE, PARTIAL, MISSING = "done", "partial", "missing"


@dataclass(frozen=True)
class State:
    """What there is of one run."""

    state: str
    rounds: int
    of: int
    accuracy: float
    """the last measured; NaN if there is none"""
    status: str = ""
    """what the run says of itself, and when it was last written"""


def overview(path: Path) -> None:
    """Print a table of the sweep's runs; raises BadInput where a run is not what its folder holds."""
    cells = read(path)
    states = _states(cells)
    made = table("task", "run", "state", "rounds", "accuracy", "last written", texts=3)
    for number, (cell, state) in enumerate(zip(cells, states, strict=True)):
        accuracy = "" if state.accuracy != state.accuracy else f"{state.accuracy:.2%}"
        rounds = f"{state.rounds} of {state.of}"
        made.add_row(str(number), cell.name, state.state, rounds, accuracy, state.status)
    counts = Counter(state.state for state in states)
    told = ", ".join(f"{counts[name]} {name}" for name in (DONE, PARTIAL, MISSING))
    say_table(f"{len(cells)} runs in {cells[0].out.parent}: {told}", made)


def lines(path: Path, task: int | None) -> None:
    """Print each run's number, state and folder, between tabs, for scripts; with `task` of that run
    only.
    """
    cells = read(path)
    numbers = range(len(cells)) if task is None else [_checked(task, cells)]
    states = _states([cells[number] for number in numbers])
    for number, state in zip(numbers, states, strict=True):
        say(f"{number}\t{state.state}\t{cells[number].out}")


def missing(path: Path) -> None:
    """Print the numbers of the runs that are not done as an array range; nothing, and a note, where
    all are.
    """
    cells = read(path)
    configs = _resolved(cells)
    _check_data(configs)
    left = [
        n
        for n, found in enumerate(zip(cells, configs, strict=True))
        if _state(*found).state != DONE
    ]
    if left:
        say(ranges(left))
    else:
        say(f"mpifl: all {len(cells)} runs of {path} are done", error=True)


def find(path: Path, number: int) -> tuple[Cell, bool]:
    """The run of this number, and whether it is done; raises BadInput also where another run of the
    sweep is wrong.
    """
    cells = read(path)
    cell = cells[_checked(number, cells)]
    configs = _resolved(cells)
    _check_data(configs)
    return cell, _state(cell, configs[number]).state == DONE


def ranges(numbers: list[int]) -> str:
    """Ascending numbers as an array range.

    >>> ranges([0, 3, 4, 5, 7])
    '0,3-5,7'
    """
    runs = [
        [n for _, n in run]
        for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    ]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _checked(number: int, cells: list[Cell]) -> int:
    if number >= len(cells):
        raise BadInput(
            f"--task: expected 0 to {len(cells) - 1}, the numbers of the sweep's runs; got {number}"
        )
    return number


def _states(cells: list[Cell]) -> list[State]:
    return [_state(cell, config) for cell, config in zip(cells, _resolved(cells), strict=True)]


def _resolved(cells: list[Cell]) -> list[schema.Config]:
    """The checked config of every run; BadInput names the first run that is wrong."""
    found = []
    for cell in cells:
        try:
            found.append(schema.resolve(schema.raw(cell.base, cell.assignments)))
        except BadInput as mistake:
            raise BadInput(f"{cell.name}: {mistake}") from None
    return found


def _check_data(configs: list[schema.Config]) -> None:
    """BadInput where a run's packed data is not there."""
    for path in dict.fromkeys(config.data.path for config in configs if config.data.path):
        packed.describe(Path(path))


def _state(cell: Cell, config: schema.Config) -> State:
    if not (cell.out / RESULTS).exists():
        return State(MISSING, 0, config.rounds, float("nan"))
    run = Run.open(cell.out)
    compatibility.check_same(str(cell.out), run.config, schema.text(config))
    rounds = len(run.rounds["round"])
    measured = [value for value in run.rounds.get("test_accuracy", ()) if value == value]
    over = rounds >= config.rounds or 0 < config.evaluation.reached(run.rounds) < rounds
    done = run.status == "complete" and over
    accuracy = measured[-1] if measured else float("nan")
    return State(
        DONE if done else PARTIAL,
        rounds,
        config.rounds,
        accuracy,
        f"{run.attrs['updated']}, {run.status}",
    )
