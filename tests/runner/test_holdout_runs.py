"""Runs with held-out clients and samples, and evaluations on training samples: what is measured."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner

import mpifl
from mpifl.cli import main
from mpifl.data import packed
from mpifl.data.dataset import Split, assemble
from mpifl.options import BadInput

DIGITS = {
    "rounds": 4,
    "clients": 10,
    "data": {"name": "digits", "train_limit": 600},
    "partition": {"name": "dirichlet", "alpha": 0.3},
    "model": {"name": "mlp", "hidden": [16]},
    "local": {"lr": 0.1, "batch": 32},
    "holdout": {"ratio": 4, "clients": 0.2},
    "evaluation": {"train_every": 2},
    "results": {"commit_seconds": 0, "checkpoint_rounds": 2},
}


def ran(tmp_path, name="run", **options):
    return mpifl.run({**DIGITS, **options}, out=tmp_path / name, quiet=True)


def pack(path, labels, clients):
    """Two kinds of images in turn, a white pixel in one of two places; the test set is the same."""
    kinds = np.arange(len(labels)) % 2
    images = np.zeros((len(labels), 1, 4, 4), np.uint8)
    images[np.arange(len(labels)), 0, kinds, kinds] = 255
    labels = np.array(labels)
    train = Split(images, labels, clients=np.array(clients))
    dataset = assemble(
        "two", train, Split(images, labels), ("a", "b"), "made", client_names=["0", "1"]
    )
    packed.write(dataset, path)
    return {"path": str(path)}


def test_clients_that_are_held_out_never_train(tmp_path):
    run = ran(tmp_path)
    assert run.trains.sum() == 8
    assert (run.clients["participated"].sum(0) > 0).tolist() == run.trains.tolist()
    assert np.nansum(run.clients["weight"], axis=1) == pytest.approx(1)


def test_a_plan_says_what_is_held_out_and_what_its_test_costs(tmp_path):
    run = ran(tmp_path, rounds=1, evaluation={"every": 10, "batch": 50})
    own = run.evaluations["own_samples_by_client"]
    planned = CliRunner().invoke(main, ["plan", str(run.path), "--no-timing"])
    said = re.search(r"Held out: .*? more\)", " ".join(planned.output.split()))[0]
    assert f"{own[run.trains].sum()} samples of {(own[run.trains] > 0).sum()} of the 8" in said
    assert f"2 clients that never train, tested on {own[~run.trains].sum()} samples" in said
    assert f"every 10 rounds ({-(-own.sum() // 50)} batches more)" in said


@pytest.mark.slow
def test_own_test_sets_and_training_samples_are_the_whole_partition(tmp_path):
    run = ran(tmp_path)
    whole = ran(tmp_path, "whole", holdout={}, rounds=1)
    for client in range(10):
        own, training = set(run.own_test(client)), set(run.part(client))
        assert not own & training
        assert own | training == set(whole.part(client))
    again = ran(tmp_path, "again", partition={"name": "run", "path": str(run.path)}, rounds=1)
    assert again.indices.tolist() == run.indices.tolist()
    assert again.holdout["indices"].tolist() == run.holdout["indices"].tolist()


def test_columns_are_what_the_stored_counts_say(tmp_path):
    run = ran(tmp_path)
    counts = run.evaluations
    assert counts["round"].tolist() == [1, 2, 3, 4]
    right, samples = counts["own_right_by_client"], counts["own_samples_by_client"]
    seen = run.trains & (samples > 0)
    by_client = right[:, seen] / samples[seen]
    assert run.rounds["own_accuracy"] == pytest.approx(by_client.mean(1))
    assert run.rounds["own_accuracy_worst_client"] == pytest.approx(by_client.min(1))
    nearest = np.quantile(by_client, 0.25, axis=1, method="nearest")
    assert run.rounds["own_accuracy_p25"] == pytest.approx(nearest)
    pooled = right[:, seen].sum(1) / samples[seen].sum()
    assert run.rounds["own_accuracy_pooled"] == pytest.approx(pooled)
    unseen = right[:, ~run.trains] / samples[~run.trains]
    assert run.rounds["unseen_accuracy"] == pytest.approx(unseen.mean(1))
    gap = run.rounds["own_accuracy"] - run.rounds["unseen_accuracy"]
    assert run.rounds["participation_gap"] == pytest.approx(gap)
    tested = counts["test_right_by_class"].sum(1) / counts["test_samples_by_class"].sum()
    assert run.rounds["test_accuracy"] == pytest.approx(tested)
    recall = counts["test_right_by_class"] / counts["test_samples_by_class"]
    labels = run.label_counts[run.trains]
    seen = (labels[None] / labels.sum(1)[None, :, None] * recall[:, None]).sum(2)
    assert run.rounds["skewed_accuracy"] == pytest.approx(seen.mean(1))
    assert run.rounds["skewed_accuracy_worst_client"] == pytest.approx(seen.min(1))
    assert run.rounds["skewed_mass"] == pytest.approx(1)
    trained = counts["train_right_by_client"].sum(1) / counts["train_samples_by_client"].sum()
    assert (counts["train_right_by_client"][[0, 2]] == -1).all()
    assert run.rounds["train_accuracy"][[1, 3]] == pytest.approx(trained[[1, 3]])
    assert np.isnan(run.rounds["train_accuracy"][[0, 2]]).all()


OPPOSITE = 40
"""samples of each of two clients with opposite labels"""


def ran_with_opposite_labels(tmp_path):
    """A run of two clients, of which the second never trains and calls each class the other."""
    one = [kind % 2 for kind in range(OPPOSITE)]
    labels = one + [1 - label for label in one]
    data = pack(tmp_path / "two.h5", labels, [0] * OPPOSITE + [1] * OPPOSITE)
    return ran(
        tmp_path,
        data=data,
        clients=2,
        partition={"name": "natural"},
        holdout={"ratio": 3, "clients": [1]},
        local={"lr": 0.5, "epochs": 20},
    )


@pytest.mark.slow
def test_of_two_clients_with_opposite_labels_the_one_that_trains_is_learned_and_the_other_is_not(
    tmp_path,
):
    run = ran_with_opposite_labels(tmp_path)
    assert run.rounds["own_accuracy"][-1] == 1
    assert run.rounds["unseen_accuracy"][-1] == 0
    assert run.rounds["participation_gap"][-1] == 1
    assert run.rounds["out_of_sample_gap"][-1] == 0


def test_where_the_test_set_is_the_training_set_the_gaps_are_zero(tmp_path):
    data = pack(tmp_path / "two.h5", [0, 1, 1, 0] * 10, [0, 1] * 20)
    run = ran(
        tmp_path,
        data=data,
        clients=2,
        partition={"name": "natural"},
        holdout={},
        evaluation={"train_every": 1},
    )
    assert (run.rounds["generalisation_gap"] == 0).all()
    assert np.abs(run.rounds["generalisation_gap_loss"]).max() < 1e-9


@pytest.mark.slow
def test_a_resumed_run_has_the_evaluations_of_one_that_was_never_stopped(tmp_path):
    straight = ran(tmp_path)
    ran(tmp_path, "resumed", rounds=2)
    resumed = mpifl.run({**DIGITS}, out=tmp_path / "resumed", resume=True, quiet=True)
    for name, column in straight.rounds.items():
        if not name.startswith(("seconds", "steps_replayed")):
            assert str(column.tolist()) == str(resumed.rounds[name].tolist()), name
    assert straight.evaluations.keys() == resumed.evaluations.keys()
    for name, array in straight.evaluations.items():
        assert str(array.tolist()) == str(resumed.evaluations[name].tolist()), name


def test_a_choice_of_training_samples_keeps_the_classes_shares(tmp_path):
    run = ran(tmp_path, rounds=2, evaluation={"train_every": 2, "train_samples": 100}, holdout={})
    chosen = run.evaluations["train_samples_by_class"]
    assert chosen.sum() == 100
    shares = run.label_counts.sum(0) / run.label_counts.sum()
    assert np.abs(chosen - 100 * shares).max() <= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"holdout": {"clients": 1.0}}, "expected at least one client that trains"),
        ({"holdout": {"clients": [10]}}, "expected numbers below 10"),
        ({"evaluation": {"every": 2, "train_every": 3}}, "expected a multiple of evaluation.every"),
        ({"evaluation": {"train_samples": 5}}, "expected evaluation.train_every above 0"),
        (
            {"evaluation": {"train_every": 1, "train_samples": 10_000}},
            "expected at most .*, the number of training samples",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(tmp_path, options, said):
    with pytest.raises(BadInput, match=said):
        ran(tmp_path, **options)


def test_clients_own_models_are_tested_on_their_own_test_sets_before_and_after(tmp_path):
    run = ran(tmp_path, participation={"fraction": 0.5}, evaluation={"clients": True})
    samples = run.evaluations["own_samples_by_client"]
    took_part = run.clients["participated"] > 0
    for row in range(1, 4):  # what the round began with was evaluated after the round before
        before = run.clients["own_right_before"][row][took_part[row]]
        evaluated = run.evaluations["own_right_by_client"][row - 1][took_part[row]]
        assert before.tolist() == evaluated.tolist()
    for when in ("before", "after"):
        right = run.clients[f"own_right_{when}"]
        assert (np.isnan(right) == ~took_part).all()
        shares = right / samples
        name = f"own_accuracy_{when}"
        assert run.rounds[name] == pytest.approx(np.nanmean(shares, axis=1), rel=1e-6)
        pooled = np.nansum(right, axis=1) / (samples * took_part).sum(axis=1)
        assert run.rounds[f"{name}_pooled"] == pytest.approx(pooled, rel=1e-6)
        worst = np.nanmin(shares, axis=1)
        assert run.rounds[f"{name}_worst_client"] == pytest.approx(worst, rel=1e-6)
        deviation = np.nanstd(shares, axis=1)
        assert run.rounds[f"{name}_deviation"] == pytest.approx(deviation, rel=1e-6)
    assert (run.rounds["own_accuracy_after"] > run.rounds["own_accuracy_before"]).all()


def test_a_partition_of_which_a_part_is_not_stored_cannot_be_taken_over(tmp_path):
    holdout = {"ratio": 4, "clients": 0.2, "unseen": "share"}
    run = ran(tmp_path, rounds=1, holdout=holdout)
    with pytest.raises(BadInput, match="stores only a part of the partition"):
        ran(tmp_path, "other", partition={"name": "run", "path": str(run.path)})
