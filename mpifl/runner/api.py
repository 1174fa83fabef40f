"""The Python interface: `mpifl.run` and `mpifl.open`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mpifl.config import override, parse
from mpifl.parallel.communicator import Communicator
from mpifl.runner import schema, session
from mpifl.runner.schema import Config
from mpifl.store import Run
from mpifl.training.callback import Callback


def run(
    config: Mapping[str, Any] | str | os.PathLike[str] | Config,
    *,
    out: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Run | None:
    """Train what `config` describes, and return the finished run.

    `config` is a dict like a TOML file's content, the path of a TOML file or of a finished run
    (whose config is stored in it), or a Config. `overrides` are as on the command line, such as
    `"local.lr=0.1"`. `out` is the run's folder (default: runs/NAME); `resume` continues the stopped
    run in it, `force` replaces it. `callbacks` are told of each round. `quiet` prints nothing.

    Alone, in a script or a notebook, it trains on one process. In a script under `mpirun -n 3`
    every rank calls it: rank 0 is the server, the others train, and the bits are the same. The Run
    is returned on rank 0, None on the others. A signal ends the run after the round under way;
    then the run's `status` is "stopped", not "complete".

    Raises BadInput for a mistake in what was given, RunFailed where training diverges, Lost where
    another rank has died, Superseded where another process has taken over the folder, and OSError
    where the folder cannot be written.
    """

    def read() -> Config:
        return _config(config, overrides)

    communicator = _communicator()
    if communicator.size == 1:  # Ctrl-C in a notebook stops one run; a signal to a job, all of them
        communicator.heartbeat.forget_stop()
    target = session.Target(None if out is None else Path(out), resume, force)
    outcome = session.play(communicator, read, target, callbacks, quiet)
    return Run.open(outcome.folder) if communicator.is_server else None


def open(path: str | os.PathLike[str]) -> Run:
    """The run at `path`: its folder, its results.h5, or a packed file.

    Raises BadInput for anything else. Needs no MPI.
    """
    return Run.open(os.fspath(path))


def _config(
    given: Mapping[str, Any] | str | os.PathLike[str] | Config, overrides: Sequence[str]
) -> Config:
    if isinstance(given, Config):
        return schema.resolve(override(parse(schema.text(given), "config"), overrides))
    if isinstance(given, Mapping):
        return schema.resolve(override(dict(given), overrides))
    return schema.resolve(schema.raw(os.fspath(given), overrides))


@cache
def _communicator() -> Communicator:
    """All ranks, for every run of this process: MPI libraries have few communicators to give."""
    return Communicator()
