"""What is drawn of the watched runs: one run with its curves, or a table of several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mpifl.analysis.runs.character_plots import plot, sparkline
from mpifl.analysis.runs.columns import evaluated, known
from mpifl.analysis.runs.listing import ago
from mpifl.analysis.watching.state import UNREADABLE, WAITING, State, training_loss
from mpifl.store import Run
from mpifl.terminal import duration, facts, percent, plural, styled, table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_BAR_WIDTH = 20
_SPARK_WIDTH = 12
_LEAST_PLOT_HEIGHT = 8
_MOST_PLOT_HEIGHT = 18
_LEAST_PLOT_WIDTH = 36
_WIDE = 100
"""columns with room for curves in a table"""
_MOST_WARNINGS = 3

_STYLES = {
    "running": "green",
    "complete": "cyan",
    WAITING: "dim",
    "stopped": "yellow",
    "failed": "bold red",
    "dead": "bold red",
    UNREADABLE: "bold red",
}
_ORDER = ("running", "dead", "failed", UNREADABLE, "stopped", WAITING, "complete")
"""which runs are shown first where there is no room for all"""


def picture(states: Sequence[State], console: Console, height: int) -> list[RenderableType]:
    """How the runs stand, in `height` lines at most of the console's width."""
    if len(states) == 1:
        return _one(states[0], console, height)
    return _several(states, console, height)


def _one(state: State, console: Console, height: int) -> list[RenderableType]:
    shown = facts()
    for row in _lines(state):
        shown.add_row(*row)
    title = styled(state.path, "bold")
    title.append_text(styled(f"  {state.status}", _STYLES.get(state.status, "")))
    drawn: list[RenderableType] = [title, shown]
    warnings = [styled(f"! {line}", "yellow") for line in state.warnings]
    drawn += warnings[:_MOST_WARNINGS]
    curves = _curves(state, console, height - _height(drawn, console) - 1)
    if curves:
        drawn += [styled(""), styled(curves)]
    return drawn


def _lines(state: State) -> Iterator[tuple[str, str]]:
    if state.run is None:
        if state.status == WAITING:
            yield "rounds", "nothing is stored yet"
        return
    run = state.run
    rounds = f"{state.rounds} of {state.planned or '?'}"
    if state.planned:
        rounds = f"{_bar(state.share)} {rounds}"
    if not math.isnan(state.seconds_a_round):
        rounds += f", {_seconds(state.seconds_a_round)} a round"
    if not math.isnan(state.seconds_left):
        rounds += f", left {duration(state.seconds_left)}"
    yield "rounds", rounds
    yield from _scores(run)
    if state.slow:
        yield "slow clients", state.slow
    yield "checkpoint", state.checkpoint
    if not math.isnan(state.written):
        yield "last written", f"{ago(state.written)} ago"


def _scores(run: Run) -> Iterator[tuple[str, str]]:
    rounds, accuracy = evaluated(run)
    if len(rounds):
        best = int(accuracy.argmax())
        yield (
            "accuracy",
            f"last {percent(accuracy[-1])}, best {percent(accuracy[best])} (round {rounds[best]})",
        )
    losses = []
    tested = known(run, "test_loss")
    if len(tested):
        losses.append(f"test {tested[-1]:.4f}")
    trained = training_loss(run)
    if not math.isnan(trained):
        losses.append(f"training {trained:.4f}")
    if losses:
        yield "loss", ", ".join(losses)


def _bar(share: float) -> str:
    full = int(_BAR_WIDTH * share)
    return f"[{'#' * full}{'-' * (_BAR_WIDTH - full)}]"


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 60 else f"{seconds:.3g} s"


def _curves(state: State, console: Console, height: int) -> str:
    """Accuracy and test loss by round, beside each other where there is room; else "" or one."""
    if state.run is None or height < _LEAST_PLOT_HEIGHT:
        return ""
    rounds, accuracy = evaluated(state.run)
    if len(rounds) < 2:
        return ""
    height = min(height, _MOST_PLOT_HEIGHT)
    losses = state.run.rounds.get("test_loss", np.zeros(0))
    known = np.isfinite(losses)
    both = known.sum() >= 2 and console.width >= 2 * _LEAST_PLOT_WIDTH + 2
    width = (console.width - 2) // 2 if both else console.width
    left = plot(rounds, accuracy, "test accuracy", width, height, console.encoding)
    if not both:
        return left
    of_loss = state.run.rounds["round"][known]
    right = plot(of_loss, losses[known], "test loss", width, height, console.encoding)
    lines = zip(left.splitlines(), right.splitlines(), strict=True)
    return "\n".join(f"{one:<{width}}  {other}" for one, other in lines)


def _several(states: Sequence[State], console: Console, height: int) -> list[RenderableType]:
    shown = list(states)
    drawn = _table_of(shown, states, console)
    overflow = _height(drawn, console) - height
    if overflow > 0:
        shown = sorted(states, key=lambda state: _ORDER.index(state.status))
    while overflow > 0 and len(shown) > 1:
        shown = shown[: -min(overflow, len(shown) - 1)]
        drawn = _table_of(shown, states, console)
        overflow = _height(drawn, console) - height
    for line in _warned(states):
        warning = styled(f"! {line}", "yellow")
        if _height([*drawn, warning], console) <= height:
            drawn.append(warning)
    return drawn


def _height(parts: Sequence[RenderableType], console: Console) -> int:
    return sum(len(console.render_lines(part, pad=False)) for part in parts)


def _table_of(
    shown: Sequence[State], states: Sequence[State], console: Console
) -> list[RenderableType]:
    """How many runs there are of each status, and a line for each of those to be shown."""
    is_wide = console.width >= _WIDE
    columns = ["run", "status", "rounds", "accuracy", "left"]
    if is_wide:
        columns += ["written", "best", "curve"]
    made = table(*columns, texts=2)
    names = _short_names([state.path for state in shown])
    for name, state in zip(names, shown, strict=True):
        cells = _cells(name, state)
        if is_wide:
            cells += _wide_cells(state, console.encoding)
        made.add_row(*cells)
    counts = Counter(state.status for state in states)
    told = ", ".join(f"{counts[status]} {status}" for status in _ORDER if counts[status])
    drawn: list[RenderableType] = [styled(f"{plural(len(states), 'run')}: {told}", "bold"), made]
    if len(shown) < len(states):
        drawn.append(styled(f"and {len(states) - len(shown)} more"))
    return drawn


def _cells(name: str, state: State) -> list[str]:
    accuracy = _accuracies(state)
    last = percent(accuracy[-1]) if len(accuracy) else ""
    rounds = f"{state.rounds}/{state.planned}" if state.planned else str(state.rounds)
    left = "" if math.isnan(state.seconds_left) else duration(state.seconds_left)
    status = f"{state.status} !" if state.warnings else state.status
    return [name, status, rounds, last, left]


def _wide_cells(state: State, encoding: str) -> list[str]:
    accuracy = _accuracies(state)
    written = "" if math.isnan(state.written) else ago(state.written)
    best = percent(accuracy.max()) if len(accuracy) else ""
    return [written, best, sparkline(accuracy, _SPARK_WIDTH, encoding)]


def _accuracies(state: State) -> np.ndarray:
    """All that were measured; none of a run that has stored nothing."""
    return np.zeros(0) if state.run is None else evaluated(state.run)[1]


def _warned(states: Sequence[State]) -> list[str]:
    """The first warning of each run that has one."""
    return [f"{state.path}: {state.warnings[0]}" for state in states if state.warnings]


def _short_names(paths: Sequence[str]) -> list[str]:
    """The paths without the folder that all of them are in.

    >>> _short_names(["runs/a", "runs/b"]), _short_names(["runs/a", "x/a"])
    (['a', 'b'], ['runs/a', 'x/a'])
    """
    parents = {path.rpartition("/")[0] for path in paths}
    if len(parents) != 1:
        return list(paths)
    return [path.rpartition("/")[2] for path in paths]
