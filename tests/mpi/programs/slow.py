"""`slow.py SECONDS ROUND run ...`: `mpifl run ...` that sleeps for SECONDS at every training step.

From ROUND on it sleeps for a second: a test that has waited for an earlier round has the time to
disturb the run before its end. When a client trains in a round, the file OUT.training is there:
not while its steps' operations are counted, before the first round. The weights are those of the
same run without this program.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mpifl.cli import main
from mpifl.losses import LOSSES
from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.options import options
from mpifl.training.worker import Worker

play = Worker.play
rounds_began = False


def play_slowly(worker, *more):
    global rounds_began
    rounds_began = True
    return play(worker, *more)


@options
class SlowCrossEntropy(CrossEntropy):
    """Cross-entropy that takes its time."""

    def __call__(self, step):
        if rounds_began:
            TRAINING.touch()
            time.sleep(SECONDS if step.context.round < ROUND else 1.0)
        return super().__call__(step)


if __name__ == "__main__":
    SECONDS = float(sys.argv.pop(1))
    ROUND = int(sys.argv.pop(1))
    TRAINING = Path(sys.argv[sys.argv.index("--out") + 1] + ".training")
    Worker.play = play_slowly
    LOSSES["ce"] = SlowCrossEntropy
    main()
