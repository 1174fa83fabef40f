"""Batches of an evaluation go to ranks that have time for them, and have the same scores there."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from mpifl.training.dealing import Costs, deal, units_of_work
from mpifl.training.evaluator import ROWS, Evaluator, rows_of
from mpifl.training.messages import Action, Order, Sent
from mpifl.training.timeline import Kind, Stopwatch


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_no_rank_ends_later_than_others_by_more_than_a_batch(ranks):
    random = np.random.default_rng(ranks)
    loads = random.random(ranks)
    seconds = random.uniform(0.1, 1.0, ranks)
    counts = np.bincount(deal(100, loads, seconds), minlength=ranks)
    done = loads + counts * seconds
    assert counts.sum() == 100
    assert (done.max() <= done + seconds).all()


def test_the_server_does_what_it_has_time_for_and_the_last_batches():
    assert deal(3, np.array([0.0, 9.0, 9.0]), np.ones(3)).tolist() == [0, 0, 0]
    assert deal(5, np.array([0.0, 2.0, 9.0]), np.ones(3)).tolist() == [1, 0, 0, 0, 0]
    assert deal(4, np.zeros(3), np.array([100.0, 1.0, 1.0])).tolist() == [2, 2, 1, 1]
    assert deal(0, np.zeros(2), np.ones(2)).tolist() == []


def test_costs_are_what_was_measured_the_last_rounds_counting_most():
    experiment = tiny.experiment({"clients": 4, "participation": {"fraction": 1.0}})
    plan = experiment.plan(1, workers=2)
    units = units_of_work(plan, 3)
    assert units[0] == 0
    assert units.sum() == plan.steps.sum() + 0.5 * 4
    spent = np.zeros((3, len(Kind)))
    spent[1:, Kind.TRAIN] = 2 * units[1:]
    spent[1:, Kind.OWN_TEST] = units[1:]
    spent[0, Kind.TEST] = 6.0
    first = Costs.unknown(3).after(plan, spent, np.array([3, 0, 0]))
    np.testing.assert_array_equal(first.work, [np.nan, 3.0, 3.0])
    np.testing.assert_array_equal(first.batch, [2.0, np.nan, np.nan])
    second = first.after(plan, spent / 3, np.array([1, 0, 0]))
    np.testing.assert_allclose(second.work, [np.nan, 2.0, 2.0])
    np.testing.assert_allclose(second.batch, [2.0, np.nan, np.nan])
    known = Costs.from_flat(second.flat()).filled(samples_ratio=30.0)
    assert (known.work == 2.0).all() and (known.batch == 2.0).all()
    guessed = Costs.unknown(2).filled(samples_ratio=30.0)
    np.testing.assert_allclose(guessed.batch / guessed.work, 10.0)


def share_of(rank, ranks, experiment, sent, means, plan):
    """The share of one of several ranks, which gets what the server broadcasts."""
    got = {name: means[name] for name in means}
    communicator = SimpleNamespace(
        rank=rank,
        size=ranks,
        is_server=rank == 0,
        heartbeat=SimpleNamespace(poll_in_round=lambda: None),
        broadcast=lambda message: {name: got[name] for name in message},
        seconds_moved=0.0,
    )
    evaluator = Evaluator(experiment, communicator, Stopwatch(communicator))
    return evaluator.share(sent, plan, means if rank == 0 else {})


@pytest.mark.parametrize("seed", range(4))
def test_shares_add_up_to_the_whole_to_the_bit_however_they_are_dealt(seed):
    experiment = tiny.experiment(
        {
            "model": {"name": "resnet20"},
            "holdout": {"ratio": 2},
            "evaluation": {"batch": 2, "models": ["all", "cohort"], "train_every": 1},
        }
    )
    net = experiment.clients.net
    w = net.weights.clone()
    means = {"all": w * 1.1, "cohort": w * 0.9}
    random = np.random.default_rng(seed)
    costs = torch.from_numpy(
        np.append(random.uniform(0.01, 0.1, 3), random.uniform(1.0, 2.0, 3))
    ).float()
    order = Order(Action.PLAY, 3, evaluate=True, checkpoint=False, means=(True, True))
    sent = Sent({"w": w}, net.buffers.clone(), order, costs=costs)
    plan = experiment.plan(4, workers=2)
    whole = share_of(0, 1, experiment, sent, means, plan)
    assert whole.is_whole
    shares = [share_of(rank, 3, experiment, sent, means, plan) for rank in range(3)]
    assert not any(share.is_whole for share in shares)
    assert whole.scores.keys() == {"test", "train", "own", ROWS, *map(rows_of, means)}
    for name, expected in whole.scores.items():
        parts = [share.scores[name].view(np.int64) for share in shares]
        if name.startswith(ROWS):  # each row is one rank's
            assert (np.count_nonzero(np.stack(parts)[:, :, 0], axis=0) == 1).all()
        np.testing.assert_array_equal(sum(parts), expected.view(np.int64), name)


def test_with_where_server_and_where_it_has_time_the_server_does_all():
    for where, of_a_batch in (("server", 1e6), ("auto", 1e-6)):
        experiment = tiny.experiment({"evaluation": {"batch": 2, "where": where}})
        w = experiment.clients.net.weights.clone()
        order = Order(Action.PLAY, 1, evaluate=True, checkpoint=False)
        costs = torch.tensor([1.0, 1.0, of_a_batch, 1.0])
        sent = Sent({"w": w}, torch.zeros(0), order, costs=costs)
        plan = experiment.plan(2, workers=1)
        server, worker = (share_of(rank, 2, experiment, sent, {}, plan) for rank in range(2))
        assert server.is_whole and worker.is_whole
        assert server.scores and not worker.scores
