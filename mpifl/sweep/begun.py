"""Runs of a sweep that were begun under another name.

The name of a run changes when an option of the grid, which had a single value, gets more of them;
and version 0.1.0 named runs by options with a single value too. Such a run goes on in its folder.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from mpifl.options import BadInput
from mpifl.runner import schema
from mpifl.store import Run, compatibility
from mpifl.store.run_folder import RESULTS
from mpifl.sweep.grid import SweepRun


def as_begun(
    runs: Sequence[SweepRun], configs: Sequence[schema.Config], sweep: Sequence[SweepRun]
) -> list[SweepRun]:
    """These runs of a sweep, each under the name of the folder in which it was begun, if it was."""
    names = {run.name for run in sweep}
    others = _OtherRuns(sweep[0].out.parent, names)
    found = []
    for run, config in zip(runs, configs, strict=True):
        first_folder = run.out.with_name(run.first_name)
        if _is_run(run.out):
            found.append(run)
        elif run.first_name not in names and _is_run(first_folder):
            found.append(run.called(run.first_name))
        else:
            found.append(run.called(others.take(schema.text(config)) or run.name))
    return found


def _is_run(folder: Path) -> bool:
    return (folder / RESULTS).exists()


class _OtherRuns:
    """The runs in a folder whose names are no names of the sweep; read when first asked for."""

    def __init__(self, folder: Path, names: set[str]) -> None:
        self._folder = folder
        self._names = names

    def take(self, config: str) -> str:
        """The name of the run that has this config, each run once; empty if there is none."""
        same = self._by_digest.get(compatibility.digest(config), [])
        for run in same:
            if _has_config(run, config):
                same.remove(run)
                return run.path.name
        return ""

    @cached_property
    def _by_digest(self) -> dict[str, list[Run]]:
        found: dict[str, list[Run]] = {}
        inside = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        for folder in inside:
            if folder.name not in self._names and _is_run(folder):
                with suppress(BadInput, tomllib.TOMLDecodeError):  # it cannot be gone on with
                    run = Run.open(folder)
                    found.setdefault(compatibility.digest(run.config), []).append(run)
        return found


def _has_config(run: Run, config: str) -> bool:
    """Whether a run has this config, its number of rounds included, on the same data."""
    try:
        compatibility.check_same("", run.config, config, free_sources=False)
    except BadInput:
        return False
    return tomllib.loads(run.config).get("rounds") == tomllib.loads(config).get("rounds")
