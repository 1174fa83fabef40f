"""The fast form of drawing by per-client priors has the law of its definition: redraw while a class
is exhausted.
"""

from functools import cache

import numpy as np
import pytest

from mpifl.data.partition import prior
from mpifl.seeds import generator

RUNS = 2000
PRIOR = np.array([[0.8, 0.12, 0.05, 0.03], [0.1, 0.1, 0.1, 0.7], [0.25, 0.25, 0.25, 0.25]])
POOL = np.array([2, 5, 2, 3])
TURNS = np.array([0, 1, 2, 0, 0, 1, 2, 2, 1, 0, 1, 2])


def frequencies(draw):
    """float64 [turn, class]: how often each turn drew each class."""
    random = generator(1, draw.__name__)
    drawn = np.array([draw(PRIOR, POOL, TURNS, random) for _ in range(RUNS)])
    assert (np.sort(drawn, axis=1) == np.repeat(np.arange(4), POOL)).all()
    return (drawn[..., None] == np.arange(4)).mean(axis=0)


def rejecting(prior_, pool, turns, random):
    return prior.draw_rejecting(prior_, pool, turns, random, 10**6)


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 5, 4096])
def test_each_turn_draws_each_class_as_often_as_by_rejection(monkeypatch, block):
    monkeypatch.setattr(prior, "BLOCK", block)
    # The standard error of a difference of two frequencies is 0.016 at most.
    assert np.abs(frequencies(prior.draw) - frequencies(rejecting)).max() < 0.065


def test_a_draw_follows_the_prior_while_nothing_is_exhausted():
    turns = np.arange(9000) % 3
    drawn = prior.draw(PRIOR, np.full(4, 9000), turns, generator(1, "first"))
    for client in range(3):
        shares = np.bincount(drawn[turns == client], minlength=4) / 3000
        assert np.abs(shares - PRIOR[client]).max() < 0.04


def test_clients_whose_classes_are_exhausted_take_any_that_are_left():
    only_first = np.tile([1.0, 0.0, 0.0], (2, 1))
    drawn = prior.draw(
        only_first, np.array([3, 500, 500]), np.arange(1003) % 2, generator(1, "left")
    )
    assert (drawn[:3] == 0).all()
    assert 400 < (drawn[3:500] == 1).sum() * 2 < 600


@cache
def last_client(room):
    """Who comes last, if clients are picked uniformly among those with room: probabilities by
    client.
    """
    if sum(room) == 1:
        return np.array(room, dtype=float)
    after = [(*room[:c], room[c] - 1, *room[c + 1 :]) for c in range(len(room)) if room[c]]
    return np.mean([last_client(left) for left in after], axis=0)


def test_arrivals_are_uniform_among_clients_with_room():
    sizes = np.array([1, 2, 5])
    random = generator(1, "arrivals")
    orders = np.array([prior.arrivals(sizes, random) for _ in range(RUNS)])
    assert (np.sort(orders, axis=1) == np.repeat(np.arange(3), sizes)).all()
    first, last = (np.bincount(orders[:, turn], minlength=3) / RUNS for turn in (0, -1))
    assert np.abs(first - 1 / 3).max() < 0.04
    assert np.abs(last - last_client((1, 2, 5))).max() < 0.04
