"""Every algorithm with every loss, gradient, norm and model, trained on two ranks: pair by pair
here, all at once in `make matrix`.
"""

from __future__ import annotations

from itertools import product

import pytest
from matrix import FACTORS, cover, impossible
from mpi.calls.combinations import train_all, train_all_shallow
from mpi.job import MPICH

pytestmark = MPICH


def test_every_possible_pair_trains_on_two_ranks(job):
    choices = list(cover())
    assert job("mpich").call(2, train_all_shallow, choices) == [len(choices)] * 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("algorithm", "loss"), list(product(FACTORS["algorithm"], FACTORS["loss"]))
)
def test_all_combinations_train_on_two_ranks(job, algorithm, loss):
    rest = product(FACTORS["gradient"], FACTORS["norm"], FACTORS["model"])
    choices = [dict(zip(FACTORS, (algorithm, loss, *values), strict=True)) for values in rest]
    if possible := [choice for choice in choices if not impossible(choice)]:
        job("mpich").call(2, train_all, possible, timeout=3600)
