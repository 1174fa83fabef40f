import math
import random

import pytest
import torch

from mpifl.parallel.exact_sum import FRACTION_BITS, Diverged, WeightedSum, grid_exponent, layout_of


def replies(clients, d=70_001, dtype=torch.float32, scale=1.0):
    g = torch.Generator().manual_seed(3)
    return [{"w": torch.randn(d, generator=g, dtype=dtype) * scale} for _ in range(clients)]


def total(some, weights, sent):
    accumulator = WeightedSum(sent)
    for reply, weight in zip(some, weights, strict=True):
        accumulator.add(reply, weight)
    return accumulator


def test_bits_do_not_depend_on_order_or_grouping():
    some = replies(17)
    weights = [1 / 17] * 17
    sent = some[0]
    straight = total(some, weights, sent)
    order = list(range(17))
    random.Random(1).shuffle(order)
    shuffled = total([some[i] for i in order], [weights[i] for i in order], sent)
    groups = (
        total(some[:5], weights[:5], sent).integers()[0]
        + total(some[5:], weights[5:], sent).integers()[0]
    )
    assert torch.equal(straight.integers()[0], shuffled.integers()[0])
    assert torch.equal(straight.integers()[0], groups)


@pytest.mark.slow
@pytest.mark.parametrize(("clients", "bound"), [(16, 1e-13), (1000, 8e-13)])
def test_error_is_far_below_float32(clients, bound):
    some = replies(clients, d=500, dtype=torch.float64)
    sent = {"w": some[0]["w"].clamp(-4, 4)}
    got = total(some, [1 / clients] * clients, sent)
    got = got.total()["w"]
    exact = torch.tensor(
        [math.fsum(float(r["w"][i]) / clients for r in some) for i in range(500)],
        dtype=torch.float64,
    )
    assert (got - exact).abs().max() < bound * 4


def test_fast_and_general_rounding_add_the_same_integers(monkeypatch):
    some = replies(3, dtype=torch.float64, scale=3.0)
    fast = total(some, [0.2, 0.3, 0.5], some[0]).total()["w"]
    monkeypatch.setattr("mpifl.parallel.exact_sum._FAST_LIMIT", 0.0)
    assert torch.equal(fast, total(some, [0.2, 0.3, 0.5], some[0]).total()["w"])


def test_a_single_client_of_weight_one_comes_back_unchanged_in_float32():
    reply = replies(1)[0]
    alone = total([reply], [1.0], reply)
    assert (alone.total()["w"] - reply["w"]).abs().max() <= 2.0**-44


@pytest.mark.parametrize("expected", [0, 2, 3, 5])
def test_bits_do_not_depend_on_how_many_replies_were_expected(expected):
    some = replies(3)
    straight = total(some, [0.2, 0.3, 0.5], some[0]).total()["w"]
    accumulator = WeightedSum(some[0], layout_of(some[0]))
    accumulator.begin(some[0], expected)
    for reply, weight in zip(some, [0.2, 0.3, 0.5], strict=True):
        accumulator.add(reply, weight)
    assert torch.equal(accumulator.total()["w"], straight)


def test_values_far_larger_than_what_was_sent_still_add_exactly():
    reply = {"w": torch.tensor([60_000.0, -60_000.0])}
    got = total([reply, reply], [0.5, 0.5], {"w": torch.ones(2)})
    assert got.total()["w"].tolist() == [60_000.0, -60_000.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e6])
def test_a_diverged_reply_is_refused_and_adds_nothing(bad):
    accumulator = WeightedSum({"w": torch.ones(3)}, {"w": (3, torch.float32)})
    with pytest.raises(Diverged):
        accumulator.add({"w": torch.tensor([0.0, bad, 1.0])}, 0.5)
    assert not accumulator.total()["w"].any()


@pytest.mark.parametrize(
    ("largest", "exponent"), [(0.3, 0), (1.0, 0), (1.5, 1), (2.0, 1), (2.1, 2), (1024.0, 10)]
)
def test_grid_is_the_next_power_of_two_of_the_largest_value_sent(largest, exponent):
    assert grid_exponent(torch.tensor([0.1, -largest])) == exponent - FRACTION_BITS


def test_each_vector_of_a_message_has_its_own_grid():
    sent = {"w": torch.ones(2), "b": torch.full((2,), 1000.0)}
    accumulator = WeightedSum(sent)
    accumulator.add(
        {"w": torch.ones(2), "b": torch.full((2,), 900.0), "extra": torch.ones(2)}, 0.25
    )
    values = accumulator.total()
    assert values["w"].tolist() == [0.25] * 2
    assert values["b"].tolist() == [225.0] * 2
    assert values["extra"].tolist() == [0.25] * 2


def test_a_sum_takes_the_layout_of_its_first_reply_or_the_one_that_it_is_given():
    sent, reply = {"w": torch.ones(2)}, {"w": torch.ones(2), "a": torch.ones(1).double()}
    accumulator = WeightedSum(sent)
    assert accumulator.layout is None and not accumulator.total()
    accumulator.add(reply, 1.0)
    assert accumulator.layout == layout_of(reply)
    without_reply = WeightedSum(sent, layout_of(reply))
    values = without_reply.total()
    assert values["w"].tolist() == [0.0, 0.0] and values["a"].dtype is torch.float64
