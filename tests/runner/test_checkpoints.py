"""When checkpoints come, and that whatever a run is made of, it goes on from one as if it had never
been stopped.

Algorithms, server optimizers, losses, gradients, norms and learning rates are those of the tables
that name them.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import tomli_w
from matrix import FACTORS, SMALL, impossible, raw
from mpi.calls.algorithms import CASES, PARTLY, PERSIST

from mpifl.algorithms import ALGORITHMS
from mpifl.config import merge
from mpifl.runner import checkpoints, session
from mpifl.runner.callbacks import StoreWriter
from mpifl.runner.checkpoints import Checkpoints, everywhere, start_from
from mpifl.schedules import SCHEDULES
from mpifl.store import Run, checkpoint
from mpifl.training.callback import Callback
from mpifl.training.progress import Progress
from mpifl.training.rounds import run

ROUNDS, EVERY, LAST = 4, 2, 3
"""rounds of a run, between its checkpoints, and the one that is lost when it is killed"""

MEANS = {"evaluation": {"models": ["cohort", "all"]}}
HEADED = {"name": "lenet", "norm": "batch", "projection": 4}


def in_the_matrix(factor: str, value: str) -> dict:
    """This value of a factor, in the first model that can have it."""
    models = (model for model in SMALL if not impossible({factor: value, "model": model}))
    given = raw({"model": next(models), factor: value})
    return {name: given[name] for name in ("model", "local", "algorithm")}


RUNS = {name: case for name, case in CASES.items() if "rounds" not in case}
RUNS |= {
    name: {"algorithm": algorithm}
    for name, algorithm in FACTORS["algorithm"].items()
    if name not in CASES
}
RUNS |= {
    value: in_the_matrix(factor, value)
    for factor in ("loss", "gradient", "norm")
    for value in FACTORS[factor]
}
RUNS |= {f"{name}, rate": {"local": {"schedule": {"name": name}}} for name in SCHEDULES}
RUNS |= {
    f"{name}, means": {"algorithm": {"name": name}, **MEANS} for name in ("fedavg", "scaffold")
}
RUNS |= {
    f"{buffers} buffers, {loss}": {"buffers": buffers, "model": HEADED, "local": {"loss": loss}}
    for buffers, loss in product(("average", "pooled", "local"), ("ce", "ce + moon"))
}


def config(case: str) -> dict:
    """Of few steps, and clients keep their momentum wherever the algorithm allows it."""
    given = merge(PARTLY, RUNS[case])
    algorithm = ALGORITHMS[given.get("algorithm", {"name": "fedavg"})["name"]]
    local = {"steps": 1 if given["model"]["name"] == "resnet20" else 2}
    return merge(
        given, {"rounds": ROUNDS, "local": local | ({} if algorithm.fresh_momentum else PERSIST)}
    )


class Killed(BaseException):
    """No part of the program catches it."""


class Noting(tiny.Digests):
    """Also what means of local models scored; and a kill may come in the LAST round."""

    def __init__(self, killed: bool = False) -> None:
        super().__init__()
        self.killed = killed

    def round_finished(self, progress: Progress, last: bool) -> None:
        if self.killed and progress.round == LAST:
            raise Killed
        super().round_finished(progress, last)
        self.rounds[-1] += (progress.scores,)


class Folder:
    """As much of a store as keeps checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rounds = folder, []

    def checkpoint(self, round: int, *given) -> None:
        self.rounds.append(round)
        checkpoint.commit(self.folder, round, *given, run_id="this one", config="")


def begin_or_go_on(case: str, folder: Path, callback: Callback) -> None:
    """Play rounds from the newest checkpoint on."""
    found = everywhere(checkpoint.latest(folder), tiny.alone())
    last_round = found.round if found else 0
    checkpoints = Checkpoints(folder, Folder(folder), lambda: None, EVERY, 0.0, last_round)
    x = tiny.experiment(config(case))
    run(x, tiny.alone(), [callback], checkpoints, start_from(found, x, tiny.alone()))


@pytest.mark.slow
@pytest.mark.parametrize("case", RUNS)
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path, case):
    whole, killed, resumed = Noting(), Noting(killed=True), Noting()
    run(tiny.experiment(config(case)), tiny.alone(), [whole])
    with pytest.raises(Killed):
        begin_or_go_on(case, tmp_path, killed)
    begin_or_go_on(case, tmp_path, resumed)
    assert killed.rounds == whole.rounds[: LAST - 1]
    assert resumed.rounds == whole.rounds[EVERY:]
    assert len({digest for digest, *_ in whole.rounds}) > EVERY


class Timed(Checkpoints):
    """Each round takes 25 seconds."""

    def is_due(self, progress: Progress, ending: bool) -> bool:
        checkpoints.time.now = 25.0 * progress.round
        return super().is_due(progress, ending)


KEPT = {(0, 0.0): [7], (0, 1.0): [3, 6, 7], (4, 1.0): [3, 4, 7], (4, 0.0): [4, 7], (0, 10.0): [7]}


@pytest.mark.parametrize(("rounds", "minutes"), KEPT)
def test_checkpoints_come_by_rounds_by_minutes_since_the_last_and_at_the_end(
    tmp_path, monkeypatch, rounds, minutes
):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(checkpoints, "time", clock)
    store = Folder(tmp_path)
    keeper = Timed(tmp_path, store, lambda: None, rounds, minutes, 0)
    run(tiny.experiment({**PARTLY, "rounds": 7}), tiny.alone(), [], keeper)
    assert store.rounds == KEPT[rounds, minutes]


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "round"), [(1e-9, LAST - 1), (10.0, 0), (0.0, 0)])
def test_a_run_goes_on_from_the_checkpoint_that_its_minutes_brought(
    elsewhere, monkeypatch, capsys, minutes, round
):
    given = {**PARTLY, "rounds": ROUNDS, "results": {"checkpoint_minutes": minutes}}
    (elsewhere / "config.toml").write_text(tomli_w.dumps(merge(tiny.RUN, given)))
    what, killed, finished = (
        (tiny.alone(), "config.toml", []),
        Noting(killed=True),
        StoreWriter.round_finished,
    )
    with monkeypatch.context() as late:
        late.setattr(
            StoreWriter,
            "round_finished",
            lambda self, *told: (killed.round_finished(*told), finished(self, *told)),
        )
        with pytest.raises(Killed):
            session.run(*what, session.Target(Path("run")))
    found = checkpoint.latest(Path("run"))
    assert (found.round if found else 0) == round
    assert session.run(*what, session.Target(Path("run"), resume=True)) == 0
    assert ("resuming after round" in capsys.readouterr().out) == bool(round)
    assert Run.open("run").rounds["sha256"].tolist() == [
        digest for digest, _ in tiny.digests(given)
    ]
