"""`killed_in_step.py STEP run ...`: `mpifl run ...`, whose rank 1 dies by SIGKILL in a local step.

It is the step that is replayed as number STEP, and it is under way on a GPU. On the other ranks
this is `mpifl run ...`.
"""

from __future__ import annotations

import os
import signal
import sys

from mpifl.cli import main
from mpifl.training.steps import Replays


def dying(step: int) -> None:
    """Let this process die in its replayed step number `step`."""
    repeat = Replays.repeat
    replayed = 0

    def counted(replays, key, step_taken, inputs):
        nonlocal replayed
        taken = repeat(replays, key, step_taken, inputs)
        if taken is not None:
            replayed += 1
        if replayed == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return taken

    Replays.repeat = counted


if __name__ == "__main__":
    number = int(sys.argv.pop(1))
    if os.environ.get("PMI_RANK") == "1":
        dying(number)
    main()
