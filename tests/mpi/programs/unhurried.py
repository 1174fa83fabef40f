"""Each rank ends in order, but takes longer over it than the others do: the program returns 0."""

from __future__ import annotations

import atexit
import sys
import time

from mpifl.parallel.communicator import Communicator
from mpifl.runner.exit_codes import DONE, on_all_ranks


def linger(communicator: Communicator) -> int:
    communicator.Barrier()
    atexit.unregister(communicator.heartbeat._release)
    atexit.register(time.sleep, 3.0 * communicator.rank)  # called after what is registered next
    atexit.register(communicator.heartbeat._release)
    return DONE


if __name__ == "__main__":
    sys.exit(on_all_ranks(linger))
