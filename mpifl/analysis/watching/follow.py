"""Following runs until they have ended: on a screen, or as lines where there is none."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpifl.analysis.runs.columns import evaluated
from mpifl.analysis.watching import screen as screens
from mpifl.analysis.watching.picture import picture
from mpifl.analysis.watching.state import UNREADABLE, WAITING, State, training_loss
from mpifl.analysis.watching.watched import Watched
from mpifl.options import BadInput
from mpifl.terminal import duration, page, percent, say, styled

if TYPE_CHECKING:
    from rich.console import Console

DONE = 0
FAILED = 1
STOPPED = 75
"""exit codes: as those of `mpifl run`"""

_HEIGHT = 24
"""lines of a picture where there is no terminal"""
_PAUSE_OF_SCREEN = 1.0
_PAUSE_OF_LINES = 2.0
"""seconds between looks"""
_LEAVE = ("q", "Q", "\x1b")


def show_once(paths: Sequence[str]) -> int:
    """Print how the runs stand, once. Raises BadInput where there is no run."""
    watched = Watched(paths)
    states = watched.look()
    if len(states) == 1:
        _refuse_nothing(states[0])
    _print(states)
    return DONE


def _refuse_nothing(state: State) -> None:
    if state.status == UNREADABLE:
        raise BadInput(state.warnings[0])
    if state.status == WAITING:
        raise BadInput(f"{state.path}: expected a run, or a folder of runs; got none there")


def follow(paths: Sequence[str]) -> int:
    """Show the runs until all have ended, or the user leaves; return the exit code.

    Where a folder of runs is watched, others may begin in it: then it ends when the user leaves.
    """
    watched = Watched(paths)
    if screens.is_possible():
        return _on_screen(watched)
    return _as_lines(watched)


def _all_ended(watched: Watched, states: Sequence[State]) -> bool:
    return not watched.may_grow and all(state.has_ended for state in states)


def _code(states: Sequence[State]) -> int:
    """1 if a run has failed, 75 if one can be resumed, else 0."""
    statuses = {state.status for state in states}
    if statuses & {"failed", UNREADABLE}:
        return FAILED
    if statuses & {"stopped", "dead"}:
        return STOPPED
    return DONE


# --- on a screen --------------------------------------------------------------------------------


def _on_screen(watched: Watched) -> int:
    states = watched.look()
    if not _all_ended(watched, states):
        with screens.screen() as screen:
            while True:
                states = watched.look()
                if _all_ended(watched, states):
                    break
                console = screen.console
                last_line = styled(f"q leaves  {time.strftime('%H:%M:%S')}", "dim")
                screen.draw(picture(states, console, console.height - 1), last_line)
                if screen.wait(_PAUSE_OF_SCREEN) in _LEAVE:
                    return DONE
    _print(states)
    return _code(states)


def _print(states: Sequence[State]) -> None:
    with page(colours=True) as console:
        console.print(*picture(states, console, _height(console)), sep="\n")


def _height(console: Console) -> int:
    """As high as the terminal, with room for the next prompt."""
    return console.height - 1 if screens.is_possible() else _HEIGHT


# --- as lines -----------------------------------------------------------------------------------


def _as_lines(watched: Watched) -> int:
    """Print a line whenever a run was written, and its warnings once."""
    said: dict[str, tuple[int, str]] = {}
    warned: set[str] = set()
    while True:
        states = watched.look()
        for state in states:
            news = (state.rounds, state.status)
            if said.get(state.path) != news:
                said[state.path] = news
                say(line(state))
            for warning in state.warnings:
                text = f"{state.path}: warning: {warning}"
                if text not in warned:
                    warned.add(text)
                    say(text)
        if _all_ended(watched, states):
            return _code(states)
        pause()


def pause() -> None:
    """Wait a little before the next look."""
    time.sleep(_PAUSE_OF_LINES)


def line(state: State) -> str:
    """How a run stands, in one line."""
    if state.run is None:
        return f"{state.path}: {state.status}"
    words = [f"{state.path}: {state.status}, round {state.rounds} of {state.planned or '?'}"]
    _, accuracy = evaluated(state.run)
    if len(accuracy):
        words.append(f"accuracy {percent(accuracy[-1])}")
    loss = training_loss(state.run)
    if not math.isnan(loss):
        words.append(f"training loss {loss:.4f}")
    if not math.isnan(state.seconds_left):
        words.append(f"left {duration(state.seconds_left)}")
    return ", ".join(words)
