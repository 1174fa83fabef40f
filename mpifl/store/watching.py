"""Watching a run folder that another process writes: what is stored now, and whether it has ended.

Only files are looked at, so the watcher may be on any node. The run never notices.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mpifl import regular_files
from mpifl.options import BadInput
from mpifl.store.reader import Run
from mpifl.store.run_folder import OWNER, RESULTS
from mpifl.store.shared_file import version

_MOST_BYTES_OF_OWNER = 1 << 20


@dataclass(frozen=True)
class Look:
    """What one look at a run folder has found."""

    run: Run | None
    """as it was written last; None before its first commit"""
    ended: str = ""
    """how the run ended: complete, stopped, failed or dead; "" while it goes on"""
    why_dead: str = ""
    """what tells that it is dead, in words"""


class Writer(NamedTuple):
    """The process that has claimed a run folder, on this host."""

    process: int
    host: str
    is_alive: bool


def writer_here(folder: Path) -> Writer | None:
    """Who has claimed a run folder; None where that cannot be seen from this host."""
    try:
        owner = json.loads(regular_files.content(folder / OWNER, _MOST_BYTES_OF_OWNER))
        host = str(owner["host"])
        process = int(owner["pid"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if host != socket.gethostname():
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return Writer(process, host, is_alive=False)
    except PermissionError:  # another user's
        return Writer(process, host, is_alive=True)
    except (OSError, OverflowError):
        return None
    return Writer(process, host, is_alive=True)


def why_dead(run: Run) -> str:
    """What tells that a run that says `running` is dead, in words; "" where nothing does."""
    if run.status != "running":
        return ""
    gone = gone_process(run.path)
    # It may have ended since it was read: a process that is gone now has written all.
    if gone and Run.open(run.path).status != "running":
        return ""
    return gone


def gone_process(folder: Path) -> str:
    """That the process of a running run is gone, in words; "" while it lives, and where that cannot
    be seen from here.
    """
    writer = writer_here(folder)
    if writer is None or writer.is_alive:
        return ""
    return f"its process {writer.process} on {writer.host} is gone"


class RunWatch:
    """Looks at a run folder, which need not be there yet.

    A run that says `running` is dead if its process is gone, which can be seen on its own host, or
    if it has written nothing for `patience` seconds.
    """

    def __init__(
        self, folder: Path, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self.patience = patience
        self._clock = clock
        self._seen = version(folder / RESULTS)
        self._changed_at = clock()
        self._run: Run | None = None

    def look(self) -> Look:
        """Read the run if it was written since the last look, and judge whether it has ended.

        Raises BadInput for a damaged run, and if another run has taken its place.
        """
        # judged first: a process that is gone now has written all that is read below
        process_is_gone = gone_process(self.folder)
        self._read_if_written()
        if self._run is not None and self._run.status != "running":
            return Look(self._run, self._run.status)
        if self._run is not None and process_is_gone:
            return Look(self._run, "dead", process_is_gone)
        silent = self._clock() - self._changed_at
        if silent > self.patience:
            why = f"nothing was written for {silent / 60:.0f} min"
            return Look(self._run, "dead", why)
        return Look(self._run)

    def _read_if_written(self) -> None:
        now = version(self.folder / RESULTS)
        if now is None or (now == self._seen and self._run is not None):
            return
        found = Run.open(self.folder)
        if self._run is not None and found.run_id != self._run.run_id:
            raise BadInput(
                f"{self.folder}: expected run {self._run.run_id}; "
                "got another that has taken its place"
            )
        if now != self._seen:
            self._changed_at = self._clock()
        self._seen = now
        self._run = found
