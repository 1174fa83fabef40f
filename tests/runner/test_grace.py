"""A stop leaves a round whose test, or whose clients' tests, would outlast the grace period."""

from __future__ import annotations

import signal
import time

import pytest

import mpifl
from mpifl.training import evaluate

CONFIG = {
    "name": "grace",
    "rounds": 6,
    "clients": 2,
    "data": {"name": "digits", "train_limit": 32, "test_limit": 32},
    "partition": {"name": "iid"},
    "model": {"name": "mlp", "hidden": [4]},
}
SECONDS = 0.6
"""that a test takes"""


class StopAfterTwoRounds(mpifl.Callback):
    def round_finished(self, progress, last):
        if progress.round == 2:
            signal.raise_signal(signal.SIGUSR1)


@pytest.fixture
def slow_tests(monkeypatch):
    """Tests of a model take their time, in which their work can be left."""
    rows = evaluate.Tester.loaded_rows

    def rows_slowly(self, *more):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            self.alive()
        return rows(self, *more)

    monkeypatch.setattr(evaluate.Tester, "loaded_rows", rows_slowly)


def rounds_played(tmp_path, grace: float, **evaluation) -> int:
    """Of a run that is stopped after the second round, and has the digest of one that is not."""
    config = {**CONFIG, "evaluation": evaluation, "runtime": {"grace_seconds": grace}}
    out = tmp_path / "run"
    stopped = mpifl.run(config, out=out, callbacks=[StopAfterTwoRounds()], quiet=True)
    assert stopped.status == "stopped"
    played = len(stopped.rounds["round"])
    resumed = mpifl.run(config, out=out, resume=True, quiet=True)
    whole = mpifl.run(config, out=tmp_path / "whole", quiet=True)
    assert resumed.rounds["sha256"].tolist() == whole.rounds["sha256"].tolist()
    assert str(resumed.rounds["test_loss"]) == str(whole.rounds["test_loss"])  # with NaN
    return played


def test_a_round_whose_test_outlasts_the_grace_is_left(tmp_path, slow_tests):
    assert rounds_played(tmp_path, grace=SECONDS / 2) == 2


def test_a_round_whose_test_is_within_the_grace_counts(tmp_path, slow_tests):
    assert rounds_played(tmp_path, grace=1000.0) == 3


def test_clients_own_tests_are_left_when_the_grace_is_over(tmp_path, slow_tests):
    assert rounds_played(tmp_path, grace=SECONDS / 2, clients=True, every=100) == 2
