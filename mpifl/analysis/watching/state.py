"""How one run stands: what is read from its folder for the people who watch it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import time

import numpy as np

from mpifl.analysis.runs.columns import evaluated, known
from mpifl.analysis.runs.groups import options
from mpifl.analysis.runs.listing import ago, seconds_since_written
from mpifl.options import BadInput
from mpifl.store import Run, manifest
from mpifl.store.run_folder import CHECKPOINT, MANIFEST
from mpifl.store.watching import Look
from mpifl.terminal import duration, percent, plural

WAITING = "waiting"
"""of a run that has not stored anything yet"""
UNREADABLE = "unreadable"
ENDED = ("complete", "stopped", "failed", "dead", UNREADABLE)
"""after which nothing more is written, unless the run is resumed"""

_RECENT = 20
"""rounds from which the length of a round is estimated"""
_LATE = 3
"""in /clients/failed: left out because it came too late, which is no failure"""
_SLOW = 1.5
"""times as long as the median client"""
_MOST_SLOW = 3
_FELL_BY = 0.1
"""a fall of the accuracy from its best that is worth a warning"""
_LEAST_SILENCE = 120.0
"""seconds without a commit that are always allowed"""


@dataclass(frozen=True)
class State:
    """How a run stands at one moment."""

    path: str
    status: str
    """waiting, running, complete, stopped, failed, dead or unreadable"""
    run: Run | None = None
    name: str = ""
    rounds: int = 0
    """the last round that is stored"""
    planned: int = 0
    """rounds of the config; 0: unknown"""
    seconds_a_round: float = math.nan
    """the median of the last rounds"""
    seconds_left: float = math.nan
    """NaN where that is unknown, and of a run that has ended"""
    written: float = math.nan
    """seconds since the run was last written"""
    checkpoint: str = ""
    slow: str = ""
    """which clients are slow, in words"""
    warnings: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1."""
        return min(1.0, self.rounds / self.planned) if self.planned else 0.0


def unreadable(path: str, problem: BadInput) -> State:
    """The state of a run that is damaged, or not a run."""
    return State(path, UNREADABLE, warnings=(str(problem),))


def state_of(path: str, look: Look, now: datetime) -> State:
    """What a look at the folder at `path` says."""
    run = look.run
    if run is None:
        return State(path, look.ended or WAITING)
    try:
        config = options(run)
    except BadInput:
        config = {}
    rounds = run.rounds["round"]
    done = int(rounds[-1]) if len(rounds) else 0
    planned = int(config.get("rounds", 0))
    seconds = _seconds_a_round(run)
    written = seconds_since_written(run, now)
    has_ended = bool(look.ended)
    left = math.nan
    if not has_ended and planned and not math.isnan(seconds):
        left = max(0.0, seconds * (planned - done) - _positive(written))
    return State(
        path=path,
        status=look.ended or "running",
        run=run,
        name=str(config.get("name", "")),
        rounds=done,
        planned=planned,
        seconds_a_round=seconds,
        seconds_left=left,
        written=written,
        checkpoint=_checkpoint(Path(path)),
        slow=_slow_clients(run),
        warnings=tuple(_warnings(run, look, written)),
    )


def _positive(seconds: float) -> float:
    """0 for a time that is unknown, or of a clock that is ahead of this one."""
    return seconds if seconds > 0 else 0.0


def _seconds_a_round(run: Run) -> float:
    seconds = known(run, "seconds")[-_RECENT:]
    return float(np.median(seconds)) if len(seconds) else math.nan


def _checkpoint(folder: Path) -> str:
    """The newest checkpoint, in words."""
    try:
        found = manifest.read(folder)
        written = (folder / CHECKPOINT / MANIFEST).stat().st_mtime
    except (BadInput, OSError):
        return "not readable"
    if found is None or not found.entries:
        return "none yet"
    return f"round {found.entries[0].round}, {ago(time() - written)} ago"


def training_loss(run: Run) -> float:
    """The weighted mean of the clients' training losses in the last round; NaN without one."""
    known = run.clients
    if not known.rounds or not {"loss", "weight"} <= known.reported.keys():
        return math.nan
    last = slice(known.offsets[-2], known.offsets[-1])
    losses = known.reported["loss"][last].astype("f8")
    weights = known.reported["weight"][last].astype("f8")
    counts = weights > 0
    if not counts.any():
        return math.nan
    return float(weights[counts] @ losses[counts] / weights[counts].sum())


def _slow_clients(run: Run) -> str:
    """The clients that train much longer than the median one."""
    seconds = run.clients.reported.get("seconds", np.zeros(0))
    known = np.isfinite(seconds)
    ids = run.clients.ids[known] if len(seconds) else np.zeros(0, "i8")
    if not len(ids):
        return ""
    clients, place, times = np.unique(ids, return_inverse=True, return_counts=True)
    means = np.bincount(place, seconds[known]) / times
    median = float(np.median(means))
    if len(clients) < 2 or median <= 0:
        return ""
    slow = [k for k in np.argsort(-means)[:_MOST_SLOW] if means[k] > _SLOW * median]
    typical = f"the median of {median:.2g} s"
    if not slow:
        return f"none: all within {_SLOW:g} times {typical}"
    words = [f"{clients[k]} ({means[k] / median:.1f} x)" for k in slow]
    return f"{', '.join(words)}, beside {typical}"


# --- warnings -----------------------------------------------------------------------------------


def _warnings(run: Run, look: Look, written: float) -> Iterator[str]:
    if look.why_dead:
        yield f"{look.why_dead}; --resume continues from the last checkpoint, if there is one"
    elif not look.ended:
        yield from _silence(run, written)
    yield from _not_finite(run)
    yield from _fallen(run)
    yield from _left_out(run)
    if run.resumed_otherwise:
        yield f"resumed {run.resumed_otherwise}"


def _silence(run: Run, written: float) -> Iterator[str]:
    """A run that has not written for much longer than its rounds take."""
    seconds = known(run, "seconds")
    longest = float(seconds.max()) if len(seconds) else math.nan
    allowed = _LEAST_SILENCE + 3 * _positive(longest)
    if written > allowed:
        line = f"nothing was written for {ago(written)}"
        if longest > 0:
            line += f"; the longest round took {duration(longest)}"
        yield line


def _not_finite(run: Run) -> Iterator[str]:
    loss = run.rounds.get("test_loss", np.zeros(0))
    tested = run.rounds.get("test_accuracy", np.zeros(0))
    lost = np.isfinite(tested) & ~np.isfinite(loss) if len(loss) == len(tested) else np.zeros(0)
    if lost.any():
        yield f"the test loss is not finite since round {run.rounds['round'][lost][0]}"


def _fallen(run: Run) -> Iterator[str]:
    rounds, accuracy = evaluated(run)
    if len(accuracy) and accuracy.max() - accuracy[-1] > _FELL_BY:
        best = int(accuracy.argmax())
        yield (
            f"the accuracy fell from {percent(accuracy[best])} (round {rounds[best]}) "
            f"to {percent(accuracy[-1])}"
        )


def _left_out(run: Run) -> Iterator[str]:
    """Clients whose replies were not finite, and did not count."""
    failed = run.clients.reported.get("failed", np.zeros(0))
    wrong = np.flatnonzero((failed > 0) & (failed != _LATE))
    if len(wrong):
        row = int(np.searchsorted(run.clients.offsets, wrong[-1], side="right")) - 1
        replies = plural(len(wrong), "reply", "replies")
        yield (
            f"{replies} not finite and left out, the last of client {run.clients.ids[wrong[-1]]} "
            f"in round {run.rounds['round'][row]}"
        )
