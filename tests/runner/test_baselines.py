"""Whole runs of the ends of a table: one client with all samples, and clients by themselves."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from click.testing import CliRunner
from quadratics import Quadratics, distance, moments
from runner.test_holdout_runs import DIGITS, pack, ran

import mpifl
from mpifl.algorithms.central import Central
from mpifl.algorithms.local_only import LocalOnly
from mpifl.analysis.models.reload import reload_run
from mpifl.cli import main
from mpifl.options import BadInput
from mpifl.training.local import Local
from mpifl.training.sampling import Participation


def test_the_pool_has_the_training_samples_of_all_clients_that_train_and_no_others():
    x = tiny.experiment(
        {"algorithm": "central", "clients": 6, "holdout": {"ratio": 2, "clients": [1, 4]}}
    )
    [pool] = x.clients.parts
    trained = np.concatenate([x.partition[client] for client in (0, 2, 3, 5)])
    assert pool.tolist() == sorted(trained)
    assert not set(pool) & set(x.own.indices.tolist())
    assert len(x.partition) == 6
    assert x.participants.tolist() == [0, 2, 3, 5]


def test_with_one_client_central_is_fedavg_bit_for_bit():
    one = {"clients": 1, "participation": {"fraction": 1.0}, "rounds": 3}
    plain = tiny.digests({**one, "local": {"momentum": 0.0}})
    central = tiny.digests({**one, "local": {"momentum": 0.0}, "algorithm": "central"})
    assert plain == central


def test_the_pools_momentum_stays_from_round_to_round():
    one = {
        "clients": 1,
        "participation": {"fraction": 1.0},
        "rounds": 3,
        "local": {"momentum": 0.9},
    }
    persisting = {**one, "local": {"momentum": 0.9, "momentum_state": "persist"}}
    central = tiny.digests({**one, "algorithm": "central"})
    assert central == tiny.digests(persisting)
    assert central != tiny.digests(one)


def test_the_pool_takes_the_steps_of_the_rounds_cohort():
    q = Quadratics()
    x = q.experiment(Central(budget="steps"), Local(batch=2), 1, Participation(fraction=0.5))
    federation = q.experiment(LocalOnly(), Local(batch=2), 1, Participation(fraction=0.5))
    assert x.plan(1, 1).steps.sum() == federation.plan(1, 1).steps.sum()


def test_each_client_alone_ends_at_its_own_optimum_whoever_else_takes_part():
    q = Quadratics()
    half = Participation(fraction=0.5)
    last = moments(q.experiment(LocalOnly(), Local(steps=60, batch=100, lr=0.2), 12, half))[-1]
    for client in range(4):
        assert distance(last.clients[client]["w"], q.b[client]) < 1e-6


def test_clients_alone_are_counted_with_their_own_models(tmp_path):
    run = ran(tmp_path, algorithm="local", results={"clients_every": 4})
    reloaded = reload_run(run)
    ids, weights, buffers = run.client_weights(4)
    assert ids.tolist() == np.flatnonzero(run.trains).tolist()
    test = reloaded.dataset.test
    for client, w, b in zip(ids, weights, buffers, strict=True):
        net = reloaded.load(w, b)
        for split, name in (
            (test, "test"),
            (reloaded.dataset.train.take(run.own_test(client)), "own"),
            (reloaded.own(client), "train"),
        ):
            samples = reloaded.samples(split)
            with torch.inference_mode():
                x = samples.pick(torch.arange(len(samples)))
                right = int((net(x).logits.argmax(-1) == samples.labels).sum())
            assert run.evaluations[f"{name}_right_by_client"][-1][client] == right
    right = run.evaluations["test_right_by_client"][-1][run.trains]
    assert run.rounds["test_accuracy"][-1] == pytest.approx(right.mean() / len(test))
    assert run.rounds["test_accuracy_worst_client"][-1] == right.min() / len(test)
    assert run.evaluations["test_samples_by_client"].sum() == 8 * len(test)


def test_a_client_that_never_trains_has_the_initial_model(tmp_path):
    run = ran(tmp_path, algorithm="local", rounds=2)
    unseen = run.evaluations["own_right_by_client"][:, ~run.trains]
    assert (unseen[0] == unseen[1]).all()
    assert np.isfinite(run.rounds["unseen_accuracy"]).all()


@pytest.mark.slow
def test_of_two_clients_with_opposite_labels_each_alone_is_right_and_one_model_is_not(tmp_path):
    n = 40
    one = [kind % 2 for kind in range(n)]
    options = {
        "data": pack(tmp_path / "two.h5", one + [1 - label for label in one], [0] * n + [1] * n),
        "clients": 2,
        "partition": {"name": "natural"},
        "holdout": {"ratio": 3},
        "local": {"lr": 0.5, "epochs": 20},
    }
    alone = ran(tmp_path, "alone", algorithm="local", **options)
    pooled = ran(tmp_path, "pooled", algorithm="central", **options)
    assert alone.rounds["own_accuracy"][-1] == 1
    assert alone.rounds["test_accuracy"][-1] == 0.5
    assert alone.rounds["own_accuracy_worst_client"][-1] == 1
    assert pooled.rounds["own_accuracy"][-1] == 0.5


def test_clients_alone_keep_their_own_batchnorm_statistics():
    x = tiny.experiment({"algorithm": "local", "model": {"name": "lenet", "norm": "batch"}})
    state = x.clients.initial_state(x.clients.net.weights)
    assert state.buffers is not None


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["central", "local"])
def test_a_resumed_baseline_has_the_weights_and_counts_of_one_that_was_never_stopped(
    tmp_path, algorithm
):
    options = {
        "algorithm": algorithm,
        "participation": {"fraction": 0.5},
        "local": {"momentum": 0.9, "lr": 0.05},
    }
    straight = ran(tmp_path, **options)
    ran(tmp_path, "resumed", rounds=2, **options)
    resumed = mpifl.run({**DIGITS, **options}, out=tmp_path / "resumed", resume=True, quiet=True)
    assert straight.rounds["sha256"].tolist() == resumed.rounds["sha256"].tolist()
    for name, array in straight.evaluations.items():
        assert str(array.tolist()) == str(resumed.evaluations[name].tolist()), name


def test_a_baseline_sends_nothing(tmp_path):
    for algorithm in ("central", "local"):
        run = ran(tmp_path, algorithm, algorithm=algorithm, rounds=1)
        assert run.rounds["bytes_up"].tolist() == run.rounds["bytes_down"].tolist() == [0]


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        (
            "central",
            "One client trains on the {samples} samples of all of these, 7 steps in round 1",
        ),
        ("local", "Each client is tested with its own model: 8 models on the 359 test samples"),
    ],
)
def test_plan_says_what_a_baseline_does(tmp_path, algorithm, said):
    run = ran(
        tmp_path,
        rounds=1,
        algorithm=algorithm,
        holdout={"clients": 0.2},
        participation={"fraction": 0.5},
    )
    arguments = ["plan", str(run.path), "--no-timing"]
    planned = CliRunner().invoke(main, arguments, env={"COLUMNS": "300"}).output
    assert said.format(samples=run.offsets[-1]) in planned
    assert "0 B down, 0 B up a round" in planned


@pytest.mark.parametrize(
    "options", [{"evaluation": {"clients": True}}, {"results": {"clients_every": 1}}]
)
def test_the_pool_has_no_clients_models(tmp_path, options):
    with pytest.raises(BadInput, match="expected none with algorithm.name"):
        ran(tmp_path, algorithm="central", **options)
