"""`memory.py CONFIG OUT [key=value]...`: `mpifl run`; then each rank writes what it took into
OUT.RANK.json.

`start`: resident bytes before, `peaks`: the most so far at each message to the workers, `seconds`:
of processor time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from unittest.mock import patch

from mpifl.parallel.communicator import Communicator
from mpifl.plan.profile import resident
from mpifl.runner import session

broadcast, peaks, ranks = Communicator.broadcast, [], []


def noting(self: Communicator, message: dict) -> dict:
    ranks[:] = [self.rank]
    peaks.append(resident()[1])
    return broadcast(self, message)


if __name__ == "__main__":
    config, out, *assignments = sys.argv[1:]
    start = resident()[0]
    with patch.object(Communicator, "broadcast", noting):
        code = session.main(config, assignments, session.Target(Path(out)))
    found = {"start": start, "peaks": peaks, "seconds": time.process_time()}
    Path(f"{out}.{ranks[0]}.json").write_text(json.dumps(found))
    sys.exit(code)
