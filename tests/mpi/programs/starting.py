"""`starting.py MODULE RANKS ...` is `mpifl ...` that waits for a signal while it starts.

MODULE is where it waits, before importing it: torch, when MPI has started, or mpi4py, before that.
RANKS has a digit for each rank that waits. The file OUT.RANK is there when a rank waits.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mpifl.cli import main

RANK = os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0"))


class Waiting:
    """Finds no module; waits when the one named is imported."""

    def __init__(self, module: str) -> None:
        self.module = module

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self.module:
            wait()


def wait() -> None:
    out = sys.argv[sys.argv.index("--out") + 1]
    Path(f"{out}.{RANK}").touch()
    try:
        pause()
    except KeyboardInterrupt:  # as some modules do when they are imported
        pause()


def pause() -> None:
    """Sleep in short pieces: a signal just before a sleep is handled only after it."""
    for _ in range(6000):
        time.sleep(0.1)


if __name__ == "__main__":
    module, ranks = sys.argv[1:3]
    del sys.argv[1:3]
    if RANK in ranks:
        sys.meta_path.insert(0, Waiting(module))
    main()
