"""The Python interface: `mpifl.run` and `mpifl.open`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

from mpifl.config import override, parse
from mpifl.models.module import allow
from mpifl.options import BadInput, checked_path
from mpifl.parallel.communicator import AgreedBadInput, Communicator
from mpifl.parallel.stop_request import SIGNALS
from mpifl.runner import plugins, schema, session
from mpifl.runner.exit_codes import fail_unexpectedly
from mpifl.runner.schema import Config
from mpifl.runner.trackers import TRACKERS, Tracker
from mpifl.store import Run
from mpifl.training.callback import Callback
from mpifl.training.progress import RunFailed

_RUNNING = threading.Lock()
"""held while a run of this process trains"""


def run(
    config: Mapping[str, Any] | str | os.PathLike[str] | Config,
    *,
    out: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    or_start: bool = False,
    force: bool = False,
    allow_other_schedule: bool = False,
    allow_other_plugins: bool = False,
    callbacks: Sequence[Callback | Tracker | str] = (),
    quiet: bool = False,
) -> Run | None:
    """Train what `config` describes, and return the finished run.

    `config` is a dict like a TOML file's content, the path of a TOML file or of a finished run
    (whose config is stored in it), or a Config. `overrides` are as on the command line, such as
    `"local.lr=0.1"`. `out` is the run's folder (default: runs/NAME); `resume` continues the stopped
    run in it, and with `or_start` begins one where there is none; `force` replaces it.
    `allow_other_schedule` resumes with other `rounds` under a schedule that depends on their
    number, and marks the run; `allow_other_plugins` does so where `plugins` have changed. Plugins
    of a dict are relative to the current folder. `callbacks` are told of each round: mpifl.Callback
    objects, and trackers by name ("tensorboard", "wandb"). `quiet` prints nothing.

    Alone, in a script or a notebook, it trains on one process. In a script under `mpirun -n 3`
    every rank calls it: rank 0 is the server, the others train, and the bits are the same. The Run
    is returned on rank 0, None on the others; an exception on one rank alone ends all ranks. A
    signal ends the run after the current round; then the run's `status` is "stopped", not
    "complete".

    Raises BadInput for a mistake in what was given and for a second run at the same time in this
    process (in another thread, or from a callback), RunFailed where training diverges, Lost where
    another rank has died, Superseded where another process has taken over the folder, and OSError
    where the folder cannot be written.
    """

    def read() -> Config:
        return _config(config, overrides)

    overrides = _texts(overrides)
    callbacks = _callbacks(callbacks)
    target = session.Target(
        None if out is None else checked_path("out", out).expanduser(),
        _flag("resume", resume),
        _flag("or_start", or_start),
        _flag("force", force),
        _flag("allow_other_schedule", allow_other_schedule),
        _flag("allow_other_plugins", allow_other_plugins),
    )
    quiet = _flag("quiet", quiet)
    with _only_run(), _handlers_restored():
        communicator = _communicator()
        if communicator.size == 1:  # Ctrl-C in a notebook stops one run; to a job, all of them
            communicator.heartbeat.forget_stop()
        try:
            outcome = session.play(communicator, read, target, callbacks, quiet)
        except (AgreedBadInput, RunFailed):
            raise
        except BaseException as error:
            if communicator.size > 1:  # the other ranks would wait for this one
                fail_unexpectedly(communicator, error)
            raise
    return Run.open(outcome.folder) if communicator.is_server else None


def open(path: str | os.PathLike[str]) -> Run:
    """The run at `path`: its folder, its results.h5, or a packed file.

    Raises BadInput for anything else. Needs no MPI.
    """
    return Run.open(path)


def _texts(given: Any) -> list[str]:
    """The `overrides`. Raises BadInput."""
    if given is None:
        return []
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise BadInput(f'overrides: expected a list of texts such as "rounds=3"; got {given!r}')
    texts = list(given)
    for text in texts:
        if not isinstance(text, str):
            raise BadInput(f'overrides: expected texts such as "rounds=3"; got {text!r}')
    return texts


def _callbacks(given: Any) -> list[Callback | Tracker]:
    """The `callbacks`. Raises BadInput."""
    if isinstance(given, str | Callback | Tracker) or not isinstance(given, Iterable):
        raise BadInput(
            f"callbacks: expected a list of mpifl.Callback objects; got {given!r}; allowed in it: "
            f"names of trackers too ({', '.join(TRACKERS)})"
        )
    return [_callback(one) for one in given]


def _callback(given: Any) -> Callback | Tracker:
    if isinstance(given, Callback | Tracker):
        return given
    if isinstance(given, str) and given in TRACKERS:
        return TRACKERS[given]()
    raise BadInput(
        f"callbacks: expected objects of mpifl.Callback, or names of trackers; got {given!r}; "
        f"allowed: {', '.join(TRACKERS)}"
    )


def _flag(name: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise BadInput(f"{name}: expected True or False; got {given!r}")
    return given


def _config(
    given: Mapping[str, Any] | str | os.PathLike[str] | Config, overrides: Sequence[str]
) -> Config:
    if isinstance(given, str | os.PathLike):
        return schema.resolve(schema.raw(str(checked_path("config", given)), overrides))
    if not isinstance(given, Mapping | Config):
        raise BadInput(f"config: expected a dict, a path or a Config; got {given!r}")
    allow(given)
    if isinstance(given, Config):
        named = plugins.load_named({"plugins": given.plugins})
        config = replace(given, plugins=tuple(named["plugins"]))
    else:
        config = schema.resolve(plugins.load_named(given))
    if not overrides:
        return schema.resolve(config)
    changed = override(parse(schema.text(config), "config"), overrides)
    allow(changed)
    return schema.resolve(plugins.load_named(changed))


@contextmanager
def _only_run() -> Iterator[None]:
    """Refuse a second run at the same time: torch's random numbers and MPI are the process's."""
    if not _RUNNING.acquire(blocking=False):
        raise BadInput(
            "mpifl.run: expected one run at a time in a process; got a second one while the first "
            "trains; allowed: one after the other, or each in a process of its own"
        )
    try:
        yield
    finally:
        _RUNNING.release()


@contextmanager
def _handlers_restored() -> Iterator[None]:
    """Afterwards, signals do what they did before: the process goes on when the run has ended."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


@cache
def _communicator() -> Communicator:
    """All ranks, for every run of this process: MPI libraries have few communicators to give."""
    return Communicator()
