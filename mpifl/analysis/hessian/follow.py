"""Measuring a run while it goes on: each round once it is stored, until the run has ended."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from mpifl.parallel.communicator import Communicator
from mpifl.runner.exit_codes import DONE, STOPPED
from mpifl.store import Run
from mpifl.store.watching import Look, RunWatch
from mpifl.terminal import plural, say

_PAUSE = 2.0
"""seconds between looks at the run's files"""

_RESUMABLE = ("stopped", "dead")


class Measures(Protocol):
    """What is done with a run's rounds; `HessianSession`."""

    def check(self, run: Run) -> None:
        """Raise BadInput where the run will never store what is to be measured."""

    def measure(self, run: Run, rounds: list[int]) -> None:
        """Measure these stored rounds."""

    def conclude(self) -> None:
        """Print what is known."""


def follow(communicator: Communicator, path: str, patience: float, measures: Measures) -> int:
    """Measure each round of the run at `path` once it is stored; return the exit code.

    Every rank calls it. It waits for the run to begin. It ends when the run has ended and all its
    stored rounds are measured: DONE, or STOPPED for a run that may yet be resumed. A run that has
    written nothing for `patience` seconds is taken for dead.
    """
    watch = RunWatch(Path(path), patience)
    if communicator.is_server:
        say(f"{path}: following it: each round is measured once it is stored")
    done: set[int] = set()
    resumes = 0

    def look_at_run() -> Look:
        look = watch.look()
        if look.run is not None:
            measures.check(look.run)
        return look

    while True:
        look = communicator.agree(look_at_run)
        stored, ended = _agreed(communicator, look)
        if look.run is not None and len(look.run.resumes) != resumes:
            resumes = len(look.run.resumes)
            done.clear()  # rounds may have been trained again
        new = [round for round in stored if round not in done]
        if look.run is not None and new:
            measures.measure(look.run, new)
            done.update(new)
        elif ended:
            measures.conclude()
            if communicator.is_server:
                _say_end(path, look, len(done))
            return STOPPED if ended in _RESUMABLE else DONE
        else:
            pause()


def pause() -> None:
    """Wait a little before the next look."""
    time.sleep(_PAUSE)


def _agreed(communicator: Communicator, look: Look) -> tuple[list[int], str]:
    """The stored rounds, and how the run has ended, once all ranks see the same.

    Files that another node has written may be seen later.
    """
    rounds: list[int] = []
    resumes = 0
    if look.run is not None:
        rounds = look.run.saved_rounds
        resumes = len(look.run.resumes)
    seen = communicator.allgather((rounds, resumes))
    ended = communicator.bcast(look.ended)
    if any(theirs != seen[0] for theirs in seen):
        return [], ""
    return rounds, ended


def _say_end(path: str, look: Look, rounds: int) -> None:
    how = look.ended
    if look.run is not None and len(look.run.rounds["round"]):
        how += f" after round {look.run.rounds['round'][-1]}"
    if look.why_dead:
        how += f" ({look.why_dead})"
    line = f"{path}: the run is {how}; {plural(rounds, 'stored round')} measured"
    if look.ended in _RESUMABLE:
        line += "; if it is resumed, the same command goes on"
    say(line)
