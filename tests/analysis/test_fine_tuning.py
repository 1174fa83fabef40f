"""FedAvg + fine-tuning of stored models: what trains, what moves, what is counted and told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from runner.test_holdout_runs import OPPOSITE, pack, ran, ran_with_opposite_labels

from mpifl.analysis.fine_tuning.tuning import FineTuner, Settings
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.cli import main
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.store.measurements import Findings


def invoke(*arguments):
    return CliRunner().invoke(main, list(arguments))


COUNTS = "finetune/round_{:06d}/global/fine_tuning"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("runs"), rounds=2, results={"weights_every": 1})


@pytest.fixture(scope="module")
def on_ranks(stopped):
    return RunOnRanks(stopped, Communicator())


def test_clients_that_never_trained_train_on_what_is_not_their_test_set(stopped, on_ranks):
    held = FineTuner(on_ranks, 2, Settings()).held
    for client in range(10):
        training, own = held.training[client], held.own[client]
        assert not set(training) & set(own)
        if stopped.trains[client]:
            assert training.tolist() == stopped.part(client).tolist()
            assert own.tolist() == stopped.own_test(client).tolist()
        else:
            assert sorted([*training, *own]) == stopped.own_test(client).tolist()
            assert len(own) == -(-len(stopped.own_test(client)) // 5)


def test_the_model_before_is_the_stored_one_and_its_counts_are_those_of_the_run(stopped, on_ranks):
    found = FineTuner(on_ranks, 2, Settings(epochs=1)).tune()
    trains = stopped.trains
    before = stopped.evaluations["own_right_by_client"][-1]
    assert found["own_before"][trains].tolist() == before[trains].tolist()
    assert found["test_before"] == stopped.evaluations["test_right_by_class"][-1].sum()
    sizes = np.diff(stopped.offsets)[trains]
    assert found["steps"][trains].tolist() == (-(-sizes // 32)).tolist()
    assert (found["steps"][~trains] > 0).all()


@pytest.mark.parametrize("part", ["all", "head"])
def test_only_the_part_that_was_named_moves(on_ranks, part):
    tuner = FineTuner(on_ranks, 2, Settings(epochs=1, part=part))
    start = tuner.start.weights.clone()
    tuner._tune_one(0, tuner._counts(tuner.start, tuner._test))
    moved = on_ranks.net.weights != start
    head = on_ranks.net.coordinates.classifier
    assert torch.equal(tuner.start.weights, start)
    assert moved[head].any()
    assert moved[~head].any() == (part == "all")


def test_of_clients_with_opposite_labels_each_is_right_after_fine_tuning_and_none_before(tmp_path):
    run = ran_with_opposite_labels(tmp_path)
    found = FineTuner(RunOnRanks(run, Communicator()), 4, Settings(epochs=40)).tune()
    assert found["own_before"].tolist() == [10, 0]
    assert found["own_after"].tolist() == [10, 10]
    assert (
        found["test_after"].tolist() == [OPPOSITE] * 2
    )  # right for the client, wrong for the other


def test_the_learning_rate_is_that_of_the_round_and_other_options_may_change(tmp_path):
    local = {"lr": 0.1, "batch": 32, "schedule": {"name": "exponential", "decay": 0.5}}
    run = ran(tmp_path, rounds=2, local=local)
    on_ranks = RunOnRanks(run, Communicator())
    assert FineTuner(on_ranks, 2, Settings()).local.lr == pytest.approx(0.05)
    changed = FineTuner(on_ranks, 2, Settings(lr=0.01, changes=("batch=8",))).local
    assert (changed.lr, changed.batch, changed.epochs) == (0.01, 8, 5)


def test_with_batchnorm_clients_of_one_sample_are_left_out(tmp_path):
    data = pack(tmp_path / "two.h5", [0, 1] * 10 + [0], [0] * 20 + [1])
    run = ran(
        tmp_path,
        rounds=1,
        data=data,
        clients=2,
        partition={"name": "natural"},
        holdout={},
        model={"name": "mlp", "hidden": [8], "norm": "batch"},
        local={"drop_last": True, "batch": 4},
        participation={"fraction": 0.5},
    )
    tuner = FineTuner(RunOnRanks(run, Communicator()), 1, Settings(epochs=1))
    assert tuner.skipped.tolist() == [1]
    found = tuner.tune()
    assert found["steps"].tolist() == [5, 0]
    assert np.isnan(found["test_after"]).tolist() == [False, True]


def test_a_run_whose_clients_share_no_model_is_refused(tmp_path):
    run = ran(tmp_path, rounds=1, algorithm="local")
    with pytest.raises(BadInput, match="expected a run whose clients share a model"):
        FineTuner(RunOnRanks(run, Communicator()), 1, Settings())


def test_weights_that_do_not_stay_finite_are_refused(on_ranks):
    with pytest.raises(BadInput, match="expected weights that stay finite; got .* smaller --lr"):
        FineTuner(on_ranks, 2, Settings(lr=1e30)).tune()


def test_a_wrong_value_is_named_as_one_of_the_command(stopped):
    refused = invoke("finetune", str(stopped.path), "--epochs", "0")
    assert refused.exit_code == 2
    assert "finetune.epochs: expected greater than or equal to 1; got 0" in refused.output


def test_the_command_keeps_counts_shows_them_again_and_refuses_other_settings(stopped):
    path = str(stopped.path)
    first = invoke("finetune", path, "--epochs", "1", "--rounds", "all")
    assert first.exit_code == 0, first.output
    assert "own classes" in first.output
    assert first.output.count("unseen") >= 6
    found = Findings.open(path).found
    assert {COUNTS.format(1), COUNTS.format(2)} <= set(found)
    again = invoke("finetune", path, "--epochs", "1", "--rounds", "all")
    assert "epoch" not in again.output
    assert again.output.splitlines()[-5:] == first.output.splitlines()[-5:]
    other = invoke("finetune", path, "--epochs", "2")
    assert other.exit_code == 2
    assert "expected epochs = 1" in other.output
    shown = invoke("show", path)
    assert "fine-tuned" in shown.output
