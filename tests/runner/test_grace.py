"""A stop leaves what outlasts the grace period: a test, which a resumed run then does first, or a
client's training, whose round it does again.
"""

from __future__ import annotations

import math
import signal
import time

import numpy as np
import pytest

import mpifl
from mpifl.parallel import heartbeat, monitor, stop_request
from mpifl.training import evaluate, evaluate_own, timeline

CONFIG = {
    "name": "grace",
    "rounds": 6,
    "clients": 2,
    "data": {"name": "digits", "train_limit": 32, "test_limit": 32},
    "partition": {"name": "iid"},
    "model": {"name": "mlp", "hidden": [4]},
    "runtime": {"grace_seconds": 0.0},
}
SECONDS = 0.6
"""that a slow test takes"""
FOREVER = 60.0


class StopAfterTwoRounds(mpifl.Callback):
    def round_finished(self, progress, last):
        if progress.round == 2:
            signal.raise_signal(signal.SIGUSR1)


class Told(mpifl.Callback):
    """What it was told of each round."""

    def __init__(self):
        self.finished = []
        self.tested = []

    def round_finished(self, progress, last):
        self.finished.append((progress.round, progress.score is not None, last))

    def round_tested(self, progress, last):
        self.tested.append((progress.round, progress.score is not None, last))


class Clock:
    """The module `time`; its clocks stand still until somebody sets `now`."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    perf_counter = monotonic

    def __getattr__(self, name):
        return getattr(time, name)


@pytest.fixture
def slow_tests(monkeypatch):
    """Tests of a model take their time, in which their work can be left. Nothing else takes any."""
    clock = Clock()
    for module in (stop_request, heartbeat, monitor, timeline, evaluate_own):
        monkeypatch.setattr(module, "time", clock)
    rows = evaluate.Tester.loaded_rows

    def rows_slowly(self, *more):
        for _ in range(60):
            clock.now += SECONDS / 60
            self.alive()
        return rows(self, *more)

    monkeypatch.setattr(evaluate.Tester, "loaded_rows", rows_slowly)


@pytest.fixture
def signal_in_test(monkeypatch):
    """signal_in_test(n): the n-th test of a model is under way when a signal comes; it goes on
    until it is left. `method` is what tests a model.
    """

    def patch(number: int, method: str) -> None:
        rows = getattr(evaluate.Tester, method)
        tests = iter(range(1, 1000))

        def rows_until_left(self, *more):
            if next(tests) == number:
                signal.raise_signal(signal.SIGUSR1)
                until = time.monotonic() + FOREVER
                while time.monotonic() < until:
                    time.sleep(0.01)
                    self.alive()
            return rows(self, *more)

        monkeypatch.setattr(evaluate.Tester, method, rows_until_left)

    return patch


def assert_same(resumed: mpifl.Run, whole: mpifl.Run) -> None:
    """Two runs hold the same, times left out."""
    assert resumed.status == whole.status == "complete"
    assert resumed.rounds.keys() == whole.rounds.keys()
    for name, column in whole.rounds.items():
        if not name.startswith(("seconds", "steps_replayed")):
            np.testing.assert_array_equal(resumed.rounds[name], column, name)
    assert resumed.evaluations.keys() == whole.evaluations.keys()
    for name, array in whole.evaluations.items():
        np.testing.assert_array_equal(resumed.evaluations[name], array, name)
    assert resumed.saved_arrays == whole.saved_arrays


def rounds_played(tmp_path, grace: float, **evaluation) -> int:
    """Of a run that is stopped after the second round, and then resumed as if it had not been."""
    config = {**CONFIG, "rounds": 4, "evaluation": evaluation}
    config["runtime"] = {"grace_seconds": grace}
    out = tmp_path / "run"
    stopped = mpifl.run(config, out=out, callbacks=[StopAfterTwoRounds()], quiet=True)
    assert stopped.status == "stopped"
    played = len(stopped.rounds["round"])
    resumed = mpifl.run(config, out=out, resume=True, quiet=True)
    assert_same(resumed, mpifl.run(config, out=tmp_path / "whole", quiet=True))
    return played


@pytest.mark.slow
def test_a_round_whose_test_would_outlast_the_grace_counts_and_is_tested_when_resumed(
    tmp_path, slow_tests
):
    assert rounds_played(tmp_path, grace=SECONDS / 2) == 3


def test_a_round_whose_test_is_within_the_grace_counts(tmp_path, slow_tests):
    assert rounds_played(tmp_path, grace=1000.0) == 3


def test_clients_own_tests_are_left_when_the_grace_is_over(tmp_path, slow_tests):
    assert rounds_played(tmp_path, grace=SECONDS / 2, clients=True, every=100) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "rounds", "more"),
    [
        (3, 3, {}),
        (6, 6, {}),
        (2, 4, {"evaluation": {"every": 2}}),
        (5, 2, {"evaluation": {"models": ["cohort", "all"]}}),
        (6, 6, {"results": {"clients_every": 2}}),
        (
            2,
            2,
            {
                "holdout": {"ratio": 4},
                "evaluation": {"train_every": 1, "target_accuracy": 0.01},
            },
        ),
        (6, 3, {"algorithm": {"name": "local"}}),
    ],
    ids=["midway", "last round", "every other", "means", "kept models", "target", "own models"],
)
def test_a_test_under_way_when_the_grace_ends_is_left_and_done_first_when_resumed(
    tmp_path, signal_in_test, number, rounds, more
):
    config, out = {**CONFIG, **more}, tmp_path / "run"
    before = Told()
    after = Told()
    is_personal = "algorithm" in more
    signal_in_test(number, "loaded_counts" if is_personal else "loaded_rows")
    stopped = mpifl.run(config, out=out, callbacks=[before], quiet=True)
    assert stopped.status == "stopped"
    assert len(stopped.rounds["round"]) == rounds
    assert math.isnan(stopped.rounds["test_accuracy"][-1])
    assert before.finished[-1] == (rounds, False, False)

    resumed = mpifl.run(config, out=out, resume=True, callbacks=[after], quiet=True)
    is_last = len(resumed.rounds["round"]) == rounds
    assert after.tested == [(rounds, True, is_last)]
    assert [round for round, *_ in after.finished] == list(
        range(rounds + 1, len(resumed.rounds["round"]) + 1)
    )
    assert_same(resumed, mpifl.run(config, out=tmp_path / "whole", quiet=True))
