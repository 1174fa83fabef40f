"""`slow_disk.py SECONDS run ...` is `mpifl run ...` whose disk is slow in the third round."""

from __future__ import annotations

import sys
import time

from mpifl.cli import main
from mpifl.store import Store

append = Store.append


def append_slowly(store, round, *more):
    if round == 3:
        time.sleep(SECONDS)
    append(store, round, *more)


if __name__ == "__main__":
    SECONDS = float(sys.argv.pop(1))
    Store.append = append_slowly
    main()
