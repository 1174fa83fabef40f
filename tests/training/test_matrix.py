"""Combinations of algorithms, losses, gradients, norms and models: impossible ones are refused.

tests/mpi/test_pairs.py trains the possible ones.
"""

from __future__ import annotations

import pytest
import tiny
from matrix import FACTORS, HEADED, RESIDUAL, all_pairs, cover, impossible, pairs, raw, train

from mpifl.algorithms import ALGORITHMS
from mpifl.losses import LOSSES
from mpifl.models import OWN
from mpifl.options import BadInput
from mpifl.training.gradients import GRADIENTS

COVER = list(cover())


def test_every_name_that_a_config_may_give_is_in_the_matrix():
    assert set(FACTORS["gradient"]) == set(GRADIENTS)
    assert {value["name"] for value in FACTORS["algorithm"].values()} == set(ALGORITHMS)
    assert all(any(name in text for text in FACTORS["loss"]) for name in LOSSES)


def test_the_cover_has_every_possible_pair_and_no_impossible_one():
    covered = set().union(*map(pairs, COVER))
    assert covered == {frozenset(pair.items()) for pair in all_pairs() if not impossible(pair)}
    assert len(COVER) < 1.6 * len(FACTORS["loss"]) * len(FACTORS["algorithm"])


@pytest.mark.slow
@pytest.mark.parametrize("model", OWN)
def test_every_model_trains_with_all_that_it_can(model):
    loss = "mixup(ce + man) + moon" if model in HEADED else "mixup(ce + man)"
    if model in RESIDUAL:
        loss = f"stochdepth({loss} + fedalign) + gradaug(n=1)"
    train({"loss": loss, "norm": "batch", "model": model}, rounds=1)


IMPOSSIBLE = [pair for pair in all_pairs() if impossible(pair)]


@pytest.mark.parametrize("pair", IMPOSSIBLE, ids=lambda pair: "; ".join(pair.values()))
def test_an_impossible_pair_is_refused_with_one_line(pair):
    with pytest.raises(BadInput) as error:
        tiny.experiment(raw(pair))
    assert "\n" not in str(error.value)
