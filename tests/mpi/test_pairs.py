"""Every algorithm with every loss, gradient, norm and model, trained on two ranks: pair by pair
here, all at once in `make matrix`.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from matrix import FACTORS, cover, impossible
from mpi.launch import launch

PROGRAM = Path(__file__).parent / "programs" / "combinations.py"


def train_on_two_ranks(choices, timeout):
    done = launch("mpich", 2, PROGRAM, json.dumps(choices), timeout=timeout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"trained {len(choices)}"


def test_every_possible_pair_trains_on_two_ranks():
    train_on_two_ranks(list(cover()), timeout=600)


@pytest.mark.long
@pytest.mark.parametrize(
    ("algorithm", "loss"), list(product(FACTORS["algorithm"], FACTORS["loss"]))
)
def test_all_combinations_train_on_two_ranks(algorithm, loss):
    rest = product(FACTORS["gradient"], FACTORS["norm"], FACTORS["model"])
    choices = [dict(zip(FACTORS, (algorithm, loss, *values), strict=True)) for values in rest]
    if possible := [choice for choice in choices if not impossible(choice)]:
        train_on_two_ranks(possible, timeout=1800)
