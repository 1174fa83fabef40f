"""Who is there, who straggles, and how much of the work each client does: by named streams."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from quadratics import Quadratics, moments

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fednova import FedNova
from mpifl.algorithms.scaffold import Scaffold
from mpifl.options import BadInput
from mpifl.training.clients import Work
from mpifl.training.heterogeneity import Cyclic, Heterogeneity, Labels, SmallestLabels, Uniform
from mpifl.training.local import Local
from mpifl.training.sampling import Participation
from mpifl.training.timetable import Federation

NO_LABELS = SmallestLabels(np.zeros(10, np.int64), 10)


def federation(heterogeneity, clients=10, fraction=1.0, work=None, seed=0):
    work = work or Work(20, np.full(clients, 40), np.full(clients, 40.0))
    participation = Participation(fraction=fraction)
    labels = SmallestLabels(np.zeros(clients, np.int64), 10)
    return Federation(participation, heterogeneity, np.arange(clients), work, labels, seed)


def random(*probabilities):
    return {"name": "random", "probability": list(probabilities)}


def test_half_of_ten_clients_straggle():
    drawn = Heterogeneity(stragglers=0.5).straggling(np.arange(10), 1, 0)
    assert np.flatnonzero(drawn).tolist() == [0, 1, 2, 6, 7]
    assert Heterogeneity(stragglers=0.5).straggling(np.arange(5), 1, 0).sum() == 3
    assert not Heterogeneity().straggling(np.arange(10), 1, 0).any()


def test_stragglers_draw_from_one_epoch_to_one_less_than_all():
    drawn = [
        [Heterogeneity(stragglers=1.0).work(client, round, 20, True, 0) for client in range(5)]
        for round in (1, 2)
    ]
    assert drawn == [[6, 10, 8, 18, 8], [18, 1, 16, 4, 5]]


def test_all_clients_draw_from_two_to_five_epochs():
    differs = Heterogeneity(epochs=(2, 5))
    assert [differs.work(client, 1, 5, True, 0) for client in range(5)] == [3, 4, 3, 5, 3]


def test_of_a_number_of_steps_a_share_above_zero_is_drawn():
    differs = Heterogeneity(stragglers=1.0)
    steps = [differs.work(client, 1, 7, False, 0) for client in range(200)]
    assert set(steps) == set(range(1, 8))


def test_who_is_there_follows_each_clients_probability():
    differs = Heterogeneity(availability=random(0.1, 0.4, 1.0, 0.5, 0.9, 0.2))
    labels = SmallestLabels(np.zeros(6, np.int64), 10)
    there = [np.flatnonzero(differs.there(t, labels, 0)).tolist() for t in range(1, 5)]
    assert there == [[2, 3, 4], [2, 4], [1, 2], [2]]


def test_clients_with_the_first_classes_are_there_least_often():
    labels = SmallestLabels(np.array([0, 3, 9]), 10)
    assert Labels(least=0.1).probabilities(1, labels, 0) == pytest.approx([0.1, 0.4, 1.0])


def test_probabilities_of_clients_are_drawn_once():
    p = Uniform(least=0.3).probabilities(1, NO_LABELS, 0)
    assert p.tolist() == Uniform(least=0.3).probabilities(2, NO_LABELS, 0).tolist()
    assert 0.3 <= p.min() < p.max() < 1


def test_groups_are_there_in_turn_each_for_as_many_rounds():
    cyclic = Cyclic(groups=5, rounds=3)
    there = [tuple(np.flatnonzero(cyclic.probabilities(t, NO_LABELS, 1))) for t in range(1, 31)]
    assert set(there) == {(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)}
    assert there[:15] == there[15:]
    for block in set(there):
        assert there[:15].count(block) == 3
    changes = [place for place in range(1, 15) if there[place] != there[place - 1]]
    assert set(np.diff(changes)) == {3}


def test_speeds_are_fixed_and_slow_clients_do_fewer_epochs():
    assert [Heterogeneity(speed=0.5).reach(client, 100, 0) for client in (2, 0)] == [95, 100]
    assert Heterogeneity(speed=0.5).reach(2, 20, 0) == 19
    assert Heterogeneity(speed=0.5).reach(2, 10**6, 0) / 10**6 == pytest.approx(0.951409, abs=2e-6)
    assert Heterogeneity(speed=5.0).reach(2, 1, 0) == 1


def test_a_cohort_keeps_its_size_while_enough_are_there_and_is_all_of_them_if_not():
    of = federation(
        Heterogeneity(availability={"name": "random", "probability": 0.4}), fraction=0.3
    )
    turns = [of.turn(round) for round in range(1, 60)]
    assert all(len(turn.cohort) == min(3, turn.there) for turn in turns)
    assert {len(turn.cohort) for turn in turns} >= {2, 3}


def test_late_stragglers_are_dropped_from_the_cohort_and_early_ones_do_fewer_whole_epochs():
    kept = federation(Heterogeneity(stragglers=0.5)).turn(1)
    dropped = federation(Heterogeneity(stragglers=0.5, late="drop")).turn(1)
    assert kept.cohort.tolist() == list(range(10))
    assert dropped.late.tolist() == [0, 1, 2, 6, 7]
    assert dropped.cohort.tolist() == [3, 4, 5, 8, 9]
    assert dropped.steps.tolist() == [40] * 5
    assert (kept.steps[dropped.late] < 40).all()
    assert (kept.steps % 2 == 0).all()  # two minibatches are an epoch


def test_with_nothing_switched_on_the_cohorts_are_those_of_participation():
    plain = federation(Heterogeneity(), fraction=0.3)
    always_there = federation(Heterogeneity(availability=random(*[1.0] * 10)), fraction=0.3)
    for round in range(1, 10):
        cohort = Participation(fraction=0.3).cohort(0, round, 10).tolist()
        assert plain.turn(round).cohort.tolist() == cohort
        assert always_there.turn(round).cohort.tolist() == cohort


def test_fewer_steps_are_the_first_ones_of_the_same_shuffle():
    x = tiny.experiment({"local": {"epochs": 3}})
    whole = [y.tolist() for _, y in x.clients.batches(1, 1)]
    short = [y.tolist() for _, y in x.clients.batches(1, 1, steps=len(whole) - 2)]
    assert short == whole[:-2]


@pytest.mark.parametrize("algorithm", [FedAvg(), FedNova(), Scaffold()])
def test_methods_meet_the_same_clients_with_the_same_work(algorithm):
    q = Quadratics()
    x = q.experiment(
        algorithm,
        Local(epochs=4, batch=2),
        3,
        heterogeneity=Heterogeneity(
            availability={"name": "random", "probability": 0.7}, stragglers=0.5, speed=1.0
        ),
    )
    plans = [x.plan(round, 2) for round in (1, 2, 3)]
    expected = [([0, 1, 3], [2, 4, 4]), ([0, 1, 2, 3], [8, 3, 8, 4]), ([0, 2], [6, 16])]
    assert [(plan.cohort.tolist(), plan.steps.tolist()) for plan in plans] == expected


def test_a_round_in_which_nobody_is_there_keeps_the_weights_and_counts():
    q = Quadratics()
    sometimes = Heterogeneity(availability={"name": "random", "probability": 0.2})
    x = q.experiment(Scaffold(), Local(steps=2, batch=100, lr=0.1), 12, heterogeneity=sometimes)
    empty = [not len(x.plan(round, 1).cohort) for round in range(1, 13)]
    history = moments(x)
    assert len(history) == 12
    assert 2 < sum(empty) < 10
    before = q.start
    for is_empty, moment in zip(empty, history, strict=True):
        assert torch.equal(moment.w, before) == is_empty
        before = moment.w


@pytest.mark.parametrize(
    ("options", "local", "said"),
    [
        ({"late": "drop"}, {}, "late: expected heterogeneity.stragglers above 0"),
        ({"stragglers": 0.5}, {"epochs": 1}, "stragglers: expected local.epochs above 1"),
        ({"epochs": [2, 5]}, {"epochs": 4}, "epochs: expected at most local.epochs = 4; got 5"),
        ({"epochs": [3, 2]}, {"epochs": 4}, "epochs: expected the least and the greatest"),
        ({"epochs": [3]}, {"epochs": 4}, "epochs: expected the least and the greatest"),
        ({"epochs": [1, 2]}, {"steps": 4}, "epochs: expected none with local.steps"),
        (
            {"epochs": [1, 2], "stragglers": 0.5, "late": "drop"},
            {"epochs": 4},
            "epochs: expected none where stragglers are dropped",
        ),
        ({"availability": random(0.5, 0.5)}, {}, "probability: expected one, or one for each of 3"),
        ({"availability": {"name": "cyclic"}}, {}, "groups: expected at most 3"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(options, local, said):
    with pytest.raises(BadInput, match=f"heterogeneity.*{said}"):
        tiny.experiment({"heterogeneity": options, "local": local})
