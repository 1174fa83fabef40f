"""How well all ranks are used in rounds that test a large test set: a ResNet-18 on three ranks."""

from __future__ import annotations

import json
import sys

from benchmarks.on_ranks import on_ranks
from benchmarks.report import Row

ROUNDS = 4
"""The first has no test: its time is not counted."""


def evaluation() -> list[Row]:
    """a round, against all work of the round divided by three ranks (work by the clock: where
    ranks share cores, sharing slows both alike)"""
    rows = []
    for where, bar in (("auto", 1.3), ("server", None)):
        found = on_ranks(3, "benchmarks.evaluation", where)
        seconds = sum(found["seconds"])
        work = sum(found["work"])
        row = Row.counted(f"round / work, evaluation.where={where}", seconds, work, bar)
        ratios = [s / w for s, w in zip(found["seconds"], found["work"], strict=True)]
        note = "seconds; by round: " + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        rows.append(Row(**{**vars(row), "note": note}))
    return rows


def main(where: str) -> None:
    """Train on three ranks; rank 0 prints seconds and work by round as JSON."""
    from benchmarks import workloads
    from mpifl.options import validated
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
    options = {"where": where, "batch": workloads.LARGE_TEST_BATCH}
    experiment.evaluation = validated(Evaluation, options, "evaluation")
    seconds = Seconds()
    rounds.run(experiment, communicator, [seconds])
    if communicator.is_server:
        print(json.dumps({"seconds": seconds.seconds, "work": seconds.work}))


if __name__ == "__main__":
    main(sys.argv[1])
