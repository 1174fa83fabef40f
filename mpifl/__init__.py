"""A simulator for people who study generalisation in federated learning.

    run = mpifl.run("config.toml", out="runs/x")     train; on all ranks of an mpirun script too
    run = mpifl.open("runs/x")                       a run that is there
    run.rounds["test_accuracy"], run.weights()       its results, as numpy arrays

The names below are the public interface, with `mpifl.analysis` for finished runs and
`mpifl.curvature` for Hessians of any net; a plugin may also import what those in examples/ do.
Everything else may change between versions.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from mpifl.lazy import exports

if TYPE_CHECKING:
    from mpifl.options import BadInput
    from mpifl.parallel.heartbeat import Lost
    from mpifl.runner.api import open, run
    from mpifl.runner.register import register
    from mpifl.runner.schema import Config
    from mpifl.runner.trackers import RowTracker, Tracker
    from mpifl.store import Run, Superseded
    from mpifl.training.algorithm import Algorithm
    from mpifl.training.callback import Callback, RunUnderway
    from mpifl.training.progress import Progress, RunFailed

__version__ = "0.2.0.dev0"

__all__ = [
    "Algorithm",
    "BadInput",
    "Callback",
    "Config",
    "Lost",
    "Progress",
    "RowTracker",
    "Run",
    "RunFailed",
    "RunUnderway",
    "Superseded",
    "Tracker",
    "__version__",
    "open",
    "register",
    "run",
]

_HOMES = {
    "Algorithm": "mpifl.training.algorithm",
    "BadInput": "mpifl.options",
    "Callback": "mpifl.training.callback",
    "Config": "mpifl.runner.schema",
    "Lost": "mpifl.parallel.heartbeat",
    "Progress": "mpifl.training.progress",
    "RowTracker": "mpifl.runner.trackers",
    "Run": "mpifl.store",
    "RunFailed": "mpifl.training.progress",
    "RunUnderway": "mpifl.training.callback",
    "Superseded": "mpifl.store",
    "Tracker": "mpifl.runner.trackers",
    "open": "mpifl.runner.api",
    "register": "mpifl.runner.register",
    "run": "mpifl.runner.api",
}
"""where each public name is defined: imported when it is first asked for"""

if "HYDI_CONTROL_FD" in os.environ:  # set by MPICH's mpirun
    import_module("mpifl.parallel.early_failure")

__getattr__, __dir__ = exports(globals(), _HOMES)
