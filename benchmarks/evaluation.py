"""How well all ranks are used in rounds that test a large test set: a ResNet-18 on three ranks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.report import Row

ROUNDS = 4
"""The first has no test: its time is not counted."""


def evaluation() -> list[Row]:
    """a round, against all work of the round divided by three ranks (work by the clock: where
    ranks share cores, sharing slows both alike)"""
    rows = []
    for where, bar in (("auto", 1.3), ("server", None)):
        found = _measure(where)
        seconds = sum(found["seconds"])
        work = sum(found["work"])
        row = Row.counted(f"round / work, evaluation.where={where}", seconds, work, bar)
        ratios = [s / w for s, w in zip(found["seconds"], found["work"], strict=True)]
        note = "seconds; by round: " + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        rows.append(Row(**{**vars(row), "note": note}))
    return rows


def _measure(where: str) -> dict:
    """What the program below prints on three ranks, started by the mpirun beside this Python, or
    by that of the PATH.
    """
    beside = Path(sys.executable).parent / "mpirun"
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun") or "mpirun"
    command = [mpirun, "-n", "3", sys.executable, "-m", "benchmarks.evaluation", where]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def main(where: str) -> None:
    """Train on three ranks; rank 0 prints seconds and work by round as JSON."""
    from benchmarks import workloads
    from mpifl.parallel.communicator import Communicator
    from mpifl.training import rounds
    from mpifl.training.callback import Callback
    from mpifl.training.evaluate import Evaluation
    from mpifl.training.progress import Progress
    from mpifl.training.timeline import stored

    class Seconds(Callback):
        """The seconds of each round with a test, and its work divided by the ranks."""

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.work: list[float] = []

        def round_finished(self, progress: Progress, last: bool) -> None:
            if progress.round == 1 or last:  # the last one has two tests
                return
            spent = stored(progress.spent)
            work = spent["train"] + spent["test"] + spent["write"]
            self.seconds.append(progress.figures["seconds"])
            self.work.append(float(work.mean()))

    communicator = Communicator()
    experiment = workloads.experiment(workloads.LARGE_TEST, rounds=ROUNDS)
    experiment.evaluation = Evaluation(where=where, batch=workloads.LARGE_TEST_BATCH)
    seconds = Seconds()
    rounds.run(experiment, communicator, [seconds])
    if communicator.is_server:
        print(json.dumps({"seconds": seconds.seconds, "work": seconds.work}))


if __name__ == "__main__":
    main(sys.argv[1])
