"""Who trains in a round and on how many minibatches; what a pool of all samples has to do."""

from __future__ import annotations

import numpy as np
import pytest

from mpifl.training.clients import Work
from mpifl.training.heterogeneity import Heterogeneity, SmallestLabels
from mpifl.training.sampling import Participation
from mpifl.training.timetable import Federation, Pool

TEN = Work(5, np.full(10, 25), np.full(10, 250.0))
"""ten clients of 50 samples: 5 passes in minibatches of 10"""


def federation(work=TEN, fraction=0.2, seed=0):
    participants = np.arange(len(work.steps))
    labels = SmallestLabels(np.zeros(0, np.int64), 10)
    participation = Participation(fraction=fraction)
    return Federation(participation, Heterogeneity(), participants, work, labels, seed)


def test_a_federations_clients_have_the_steps_of_their_own_samples():
    turn = federation(Work(1, np.array([3, 1, 7]), np.zeros(3)), fraction=1.0).turn(1)
    assert turn.cohort.tolist() == [0, 1, 2]
    assert turn.steps.tolist() == [3, 1, 7]


@pytest.mark.parametrize(
    ("budget", "steps"), [("samples", 5000), ("steps", 5000), ("sequence", 2500)]
)
def test_a_pool_has_the_steps_of_a_hundred_rounds_of_two_of_ten_clients(budget, steps):
    pool = Pool(federation(), budget, batch=10)
    turns = [pool.turn(round) for round in range(1, 101)]
    assert sum(int(turn.steps.sum()) for turn in turns) == steps
    assert {tuple(turn.cohort) for turn in turns} == {(0,)}


@pytest.mark.parametrize(("budget", "steps"), [("samples", 2), ("steps", 6), ("sequence", 2)])
def test_samples_of_short_minibatches_fill_fewer_full_ones(budget, steps):
    three = Work(2, np.full(3, 2), np.array([2.0, 4.0, 10.0]))  # of 1, 2 and 5 samples
    assert Pool(federation(three, 1.0), budget, batch=8).turn(1).steps.tolist() == [steps]
