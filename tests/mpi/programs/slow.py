"""`slow.py SECONDS ROUND run ...`: `mpifl run ...` that sleeps for SECONDS at every training step.

From ROUND on it sleeps for a second: a test that has waited for an earlier round has the time to
disturb the run before its end. When a client trains, the file OUT.training is there. The
weights are those of the same run without this program.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mpifl.cli import main
from mpifl.losses import LOSSES
from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.options import options


@options
class SlowCrossEntropy(CrossEntropy):
    """Cross-entropy that takes its time."""

    def __call__(self, step):
        TRAINING.touch()
        time.sleep(SECONDS if step.context.round < ROUND else 1.0)
        return super().__call__(step)


if __name__ == "__main__":
    SECONDS = float(sys.argv.pop(1))
    ROUND = int(sys.argv.pop(1))
    TRAINING = Path(sys.argv[sys.argv.index("--out") + 1] + ".training")
    LOSSES["ce"] = SlowCrossEntropy
    main()
