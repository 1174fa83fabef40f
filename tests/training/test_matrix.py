"""Every rule with every loss, gradient, norm and model, on two ranks: pair by pair; all at once in
`make matrix`.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
import tiny
from matrix import FACTORS, HEADED, RESIDUAL, all_pairs, cover, impossible, pairs, raw, train
from mpi.launch import launch

from mpifl.algorithms import ALGORITHMS
from mpifl.config import merge
from mpifl.losses import LOSSES
from mpifl.models import MODELS
from mpifl.options import BadInput
from mpifl.runner import schema
from mpifl.training.gradients import GRADIENTS

PROGRAM = Path(__file__).parents[1] / "mpi" / "programs" / "combinations.py"
PARTS = 3
"""launches of the cover: each starts two Pythons"""

COVER = list(cover())


def train_on_two_ranks(choices, timeout):
    done = launch("mpich", 2, PROGRAM, json.dumps(choices), timeout=timeout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"trained {len(choices)}"


def test_every_name_that_a_config_may_give_is_in_the_matrix():
    assert set(FACTORS["gradient"]) == set(GRADIENTS)
    assert {value["name"] for value in FACTORS["algorithm"].values()} == set(ALGORITHMS)
    assert all(any(name in text for text in FACTORS["loss"]) for name in LOSSES)


def test_the_cover_has_every_possible_pair_and_no_impossible_one():
    covered = set().union(*map(pairs, COVER))
    assert covered == {frozenset(pair.items()) for pair in all_pairs() if not impossible(pair)}
    assert len(COVER) < 1.6 * len(FACTORS["loss"]) * len(FACTORS["algorithm"])


@pytest.mark.parametrize("part", range(PARTS))
def test_every_possible_pair_trains_on_two_ranks(part):
    train_on_two_ranks(COVER[part::PARTS], timeout=300)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_with_all_that_it_can(model):
    loss = "mixup(ce + man) + moon" if model in HEADED else "mixup(ce + man)"
    if model in RESIDUAL:
        loss = f"stochdepth({loss} + fedalign) + gradaug(n=1)"
    train({"loss": loss, "norm": "batch", "model": model}, rounds=1)


IMPOSSIBLE = [pair for pair in all_pairs() if impossible(pair)]


@pytest.mark.parametrize("pair", IMPOSSIBLE, ids=lambda pair: "; ".join(pair.values()))
def test_an_impossible_pair_is_refused_with_one_line(pair):
    with pytest.raises(BadInput) as error:
        schema.resolve(merge(tiny.RUN, raw(pair)))
    assert "\n" not in str(error.value)


@pytest.mark.long
@pytest.mark.parametrize(
    ("algorithm", "loss"), list(product(FACTORS["algorithm"], FACTORS["loss"]))
)
def test_all_combinations_train_on_two_ranks(algorithm, loss):
    rest = product(FACTORS["gradient"], FACTORS["norm"], FACTORS["model"])
    choices = [dict(zip(FACTORS, (algorithm, loss, *values), strict=True)) for values in rest]
    if possible := [choice for choice in choices if not impossible(choice)]:
        train_on_two_ranks(possible, timeout=1800)
