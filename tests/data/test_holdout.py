"""Held-out clients and samples: Yuan et al.'s split, drawn from named streams."""

from __future__ import annotations

import numpy as np
import pytest

from mpifl.data.holdout import HoldOut, hold_out
from mpifl.data.partition.parts import Parts
from mpifl.options import BadInput


def parts(*sizes: int) -> Parts:
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Parts(np.arange(offsets[-1]) + 100, offsets)


def test_without_a_holdout_the_partition_is_what_trains():
    whole = parts(3, 1, 2)
    held = hold_out(HoldOut(), whole, seed=0)
    assert held.training is whole
    assert held.own.sizes.tolist() == [0, 0, 0]
    assert held.participants.tolist() == [0, 1, 2]


def test_of_ten_clients_a_fifth_is_two_drawn_by_the_seed():
    held = hold_out(HoldOut(clients=0.2), parts(*[4] * 10), seed=0)
    assert held.unseen.tolist() == [2, 6]
    assert held.training.sizes.tolist() == [4, 4, 0, 4, 4, 4, 0, 4, 4, 4]
    assert held.own.sizes.tolist() == [0, 0, 4, 0, 0, 0, 4, 0, 0, 0]


@pytest.mark.parametrize(("samples", "places"), [(10, [5, 7]), (6, [0, 3]), (2, [1]), (1, [])])
def test_one_in_five_of_a_clients_samples_is_held_out_rounded_up(samples, places):
    held = hold_out(HoldOut(ratio=4), parts(1, 1, 1, samples), seed=0)
    assert (held.own[3] - 103).tolist() == places
    assert (held.training[3] - 103).tolist() == [p for p in range(samples) if p not in places]


def test_named_clients_never_train_and_are_tested_on_all_or_on_their_share():
    whole = parts(10, 10)
    for unseen, tested in (("all", 10), ("share", 2)):
        held = hold_out(HoldOut(ratio=4, clients=(1,), unseen=unseen), whole, seed=0)
        assert held.training.sizes.tolist() == [8, 0]
        assert held.own.sizes.tolist() == [2, tested]


@pytest.mark.parametrize("ratio", [1, 4, 9])
@pytest.mark.parametrize("clients", [0.0, 0.3])
def test_no_sample_both_trains_and_is_held_out(ratio, clients):
    whole = parts(*range(1, 21))
    held = hold_out(HoldOut(ratio=ratio, clients=clients), whole, seed=3)
    both = np.concatenate([held.training.indices, held.own.indices])
    assert sorted(both) == whole.indices.tolist()


def test_what_is_held_out_of_a_client_depends_on_no_other_client():
    held = hold_out(HoldOut(ratio=4), parts(5, 7, 10), seed=1)
    alone = hold_out(HoldOut(ratio=4, clients=(0,)), parts(9, 8, 10), seed=1)
    assert (held.own[2] - held.own[2][0]).tolist() == (alone.own[2] - alone.own[2][0]).tolist()


@pytest.mark.parametrize(
    ("holdout", "said"),
    [
        (HoldOut(clients=1.0), "at least one client that trains; got all 2 held out"),
        (HoldOut(clients=(0, 1)), "at least one client that trains; got all 2 held out"),
        (HoldOut(clients=(1,), unseen="share"), "holdout.ratio above 0 with share; got 0"),
        (HoldOut(clients=(0, 7)), "numbers below 2, the number of clients; got 7"),
    ],
)
def test_a_holdout_that_cannot_be_is_refused_in_one_line(holdout, said):
    with pytest.raises(BadInput, match=said):
        hold_out(holdout, parts(3, 3), seed=0)
