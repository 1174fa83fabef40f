"""Each rank ends in order, but takes longer over it than the others do: the program returns 0."""

from __future__ import annotations

import atexit
import sys
import time

from mpifl.exits import DONE, on_all_ranks
from mpifl.federation import Federation


def linger(federation: Federation) -> int:
    federation.Barrier()
    atexit.unregister(federation.pulse._release)
    atexit.register(time.sleep, 3.0 * federation.rank)  # called after what is registered next
    atexit.register(federation.pulse._release)
    return DONE


if __name__ == "__main__":
    sys.exit(on_all_ranks(linger))
