"""The runs that are watched: those that are named, and those in the folders that are named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mpifl.analysis.runs.listing import holds_runs
from mpifl.analysis.watching.state import State, state_of, unreadable
from mpifl.options import BadInput
from mpifl.store.run_folder import OWNER, RESULTS
from mpifl.store.watching import RunWatch


class Watched:
    """Runs by their folders, looked at again and again; a file is read only when it has changed."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Raises BadInput for something that can be no run's folder."""
        self._paths = list(dict.fromkeys(_folder(path) for path in paths))
        self._watches: dict[str, RunWatch] = {}

    @property
    def may_grow(self) -> bool:
        """Whether new runs may appear: a folder of runs is watched."""
        return any(holds_runs(path) for path in self._paths)

    def look(self) -> list[State]:
        """How each run stands now, in the order of the names."""
        now = datetime.now(UTC)
        return [self._look_at(folder, now) for folder in self._folders()]

    def _folders(self) -> list[str]:
        """The folders of the runs, those that have come since the last look among them."""
        folders: list[str] = []
        for path in self._paths:
            if holds_runs(path):
                folders += _inside(Path(path))
            else:
                folders.append(path)
        return list(dict.fromkeys(folders))

    def _look_at(self, folder: str, now: datetime) -> State:
        if folder not in self._watches:
            self._watches[folder] = RunWatch(Path(folder), patience=math.inf)
        try:
            return state_of(folder, self._watches[folder].look(), now)
        except BadInput as problem:
            del self._watches[folder]  # another run may have taken its place
            return unreadable(folder, problem)


def _folder(path: str) -> str:
    """The run's folder, also of a results.h5. Raises BadInput."""
    given = Path(path)
    if given.name == RESULTS:
        given = given.parent
    if given.exists() and not given.is_dir():
        raise BadInput(
            f"{path}: expected the folder of a run, or one with runs in it; got a file; to look at "
            f"a packed run: mpifl show {path}"
        )
    return str(given)


def _inside(folder: Path) -> list[str]:
    """The runs in a folder, also those that have only begun, by name."""
    found = {path.parent for name in (RESULTS, OWNER) for path in folder.glob(f"*/{name}")}
    return [str(path) for path in sorted(found)]
