"""What a loss asks of a client's round, not of a step, is made once a round."""

from __future__ import annotations

import pytest
import tiny
import torch

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.fedlc import FedLC
from mpifl.losses.man import Man
from mpifl.losses.mixup import Mixup
from mpifl.losses.ntd import _frequent
from mpifl.losses.rs import Rs
from mpifl.schedules import Cosine

OF_A_ROUND = {
    "fedlc": FedLC()._of_client,
    "rs": Rs()._factors,
    "ntd": _frequent,
    "man": Man(schedule=Cosine())._strength,
}


def tensors(answer) -> tuple[torch.Tensor, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


@pytest.mark.parametrize("giver", OF_A_ROUND.values(), ids=OF_A_ROUND)
def test_all_steps_of_a_round_are_given_the_same_tensors(giver):
    net = tiny.net()
    first = tiny.step(net, number=0, rounds=9)
    later = tiny.step(net, number=1, rounds=9)
    another_round = later.given(giver)
    later.answers.clear()
    later.context = first.context
    answers = (first.given(giver), later.given(giver), another_round)
    for one, same, other in zip(*map(tensors, answers), strict=True):
        assert same is one
        assert other is not one and other.equal(one)


def test_what_is_drawn_for_a_step_is_drawn_for_each():
    net = tiny.net()
    first = tiny.step(net, number=0)
    later = tiny.step(net, number=1)
    later.context = first.context
    giver = Mixup(loss=CrossEntropy(), gamma=1.0)._drawn
    assert not first.given(giver)[0].equal(later.given(giver)[0])
