"""`setting_up.py run ...` is `mpifl run ...` that waits for a signal before it loads its data.

The file OUT.RANK is there when a rank waits.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mpifl.cli import main
from mpifl.runner import session

load = session.shared_data


def load_after_a_signal(config, communicator):
    out = sys.argv[sys.argv.index("--out") + 1]
    Path(f"{out}.{communicator.rank}").touch()
    while not communicator.heartbeat.reason:
        time.sleep(0.01)
    return load(config, communicator)


if __name__ == "__main__":
    session.shared_data = load_after_a_signal
    main()
