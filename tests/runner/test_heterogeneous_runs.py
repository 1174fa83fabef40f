"""Whole runs of clients that are away, slow or late: what is stored, shown and resumed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from runner.test_holdout_runs import DIGITS, ran

import mpifl
from mpifl.cli import main

DIFFER = {
    "rounds": 8,
    "holdout": {},
    "evaluation": {"clients": True},
    "local": {"epochs": 4, "lr": 0.1},
    "participation": {"fraction": 0.3},
    "heterogeneity": {
        "availability": {"name": "random", "probability": 0.2},
        "stragglers": 0.4,
        "late": "drop",
        "speed": 2.0,
    },
    "results": {"commit_seconds": 0, "checkpoint_rounds": 4},
}


def test_steps_late_clients_and_who_was_there_are_stored(tmp_path):
    run = ran(tmp_path, **DIFFER)
    failed, steps = run.clients["failed"], run.clients["steps"]
    took_part = run.clients["participated"] > 0
    late = failed == 3
    assert late.any()
    assert not (late & took_part).any()
    assert np.isnan(steps[~took_part]).all()
    full = 4 * -(-np.diff(run.offsets) // 32)
    assert (steps <= full)[took_part].all()
    assert (steps < full)[took_part].any()
    assert (late.sum(1) + took_part.sum(1) == np.minimum(3, run.rounds["clients_there"])).all()
    empty = took_part.sum(1) == 0
    assert 0 < empty.sum() < 8
    same = [a == b for a, b in zip(run.rounds["sha256"], run.rounds["sha256"][1:], strict=False)]
    assert same == empty[1:].tolist()
    sent = run.rounds["bytes_down"] / max(run.rounds["bytes_down"])
    assert (sent > 0).tolist() == (late | took_part).any(1).tolist()


@pytest.mark.slow
def test_a_resumed_run_meets_the_same_clients(tmp_path):
    straight = ran(tmp_path, **DIFFER)
    ran(tmp_path, "resumed", **{**DIFFER, "rounds": 4})
    resumed = mpifl.run({**DIGITS, **DIFFER}, out=tmp_path / "resumed", resume=True, quiet=True)
    assert straight.rounds["sha256"].tolist() == resumed.rounds["sha256"].tolist()
    for name in ("steps", "failed", "participated"):
        assert str(straight.clients[name].tolist()) == str(resumed.clients[name].tolist())


def test_show_says_what_became_of_the_clients(tmp_path):
    run = ran(tmp_path, **DIFFER)
    shown = CliRunner().invoke(main, ["show", str(run.path)], env={"COLUMNS": "200"}).output
    assert "clients differ" in shown
    assert "too late and left out" in shown
    assert "nobody in" in shown
    assert "left out   " not in shown  # that line is about clients that diverged


def test_show_of_a_run_in_which_nobody_ever_took_part(tmp_path):
    nobody = {"availability": {"name": "random", "probability": 0.0}}
    run = ran(tmp_path, rounds=2, holdout={}, heterogeneity=nobody)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = CliRunner().invoke(main, ["show", str(run.path)], env={"COLUMNS": "200"}).output
    assert "on average 0 of 10 there, nobody in 2 rounds" in shown
    assert "nan" not in shown


def test_plan_says_how_many_clients_there_will_be(tmp_path):
    run = ran(tmp_path, **DIFFER)
    arguments = ["plan", str(run.path), "--no-timing"]
    planned = CliRunner().invoke(main, arguments, env={"COLUMNS": "300"}).output
    there = run.rounds["clients_there"].mean()
    assert f"on average {there:.3g} of 10 are there" in planned
    assert "nobody trains, and the weights stay" in planned


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["central", "local", "fednova", "feddyn"])
def test_every_kind_of_algorithm_runs_with_clients_that_differ(tmp_path, algorithm):
    run = ran(tmp_path, algorithm=algorithm, **{**DIFFER, "evaluation": {}})
    assert len(run.rounds["round"]) == 8
    assert np.isfinite(run.rounds["test_loss"]).all()


def test_a_run_without_differences_stores_nothing_of_them(tmp_path):
    run = ran(tmp_path, rounds=1)
    assert "clients_there" not in run.rounds
    assert "steps" not in run.clients
