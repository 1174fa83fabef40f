"""FedUV: variance of probabilities and uniformity of features, by hand."""

from __future__ import annotations

import pytest
import tiny
import torch

from mpifl.losses.uv import Uv, closeness, missing_deviation


def line(*places):
    return torch.tensor(places, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("places, expected", [((0, 1, 3, 7), 0.349258), ((0, 1, 2), 0.251358)])
def test_closeness_is_that_of_an_independent_program(places, expected):
    assert closeness(line(*places)).item() == pytest.approx(expected, abs=5e-7)


def test_closeness_does_not_depend_on_the_scale_of_features():
    f = line(0, 1, 3, 7)
    torch.testing.assert_close(closeness(7 * f), closeness(f), rtol=1e-14, atol=0)


@pytest.mark.parametrize("f", [line(3), line(3, 3, 3)])
def test_where_no_features_differ_closeness_is_zero_and_no_nan(f):
    assert closeness(f) == 0


def test_equal_features_count_as_close_and_do_not_enter_the_median():
    """Distances 0, 1, 1: the median of those above 0 is 1."""
    expected = (1 + 2 * torch.exp(torch.tensor(-1.0, dtype=torch.float64))) / 3
    torch.testing.assert_close(closeness(line(0, 0, 1)), expected)


def test_a_batch_of_each_class_once_and_certain_lacks_no_deviation():
    assert missing_deviation(torch.eye(4, dtype=torch.float64)) < 1e-15


def test_a_larger_balanced_batch_cannot_reach_that():
    p = torch.eye(4, dtype=torch.float64).repeat(2, 1)
    assert missing_deviation(p).item() == pytest.approx(0.037090, abs=5e-7)


def test_a_certain_batch_of_one_class_lacks_all_and_has_no_gradient():
    p = torch.eye(4, dtype=torch.float64)[[0, 0, 0]].requires_grad_()
    value = missing_deviation(p)
    value.backward()
    assert value == 0.5
    assert not p.grad.any()


def test_a_batch_of_one_sample_is_zero_and_no_nan():
    assert missing_deviation(torch.ones(1, 4) / 4) == 0
    step = tiny.step(tiny.net(), n=1)
    assert Uv()(step) == 0


def test_the_terms_have_their_own_strengths():
    net = tiny.net()
    out = tiny.step(net).out
    variance = missing_deviation(out.logits.softmax(-1))
    uniformity = closeness(out.features)
    for lam, mu in ((2.0, 0.0), (0.0, 3.0), (2.0, 3.0)):
        got = tiny.taken(net, Uv(lam=lam, mu=mu), tiny.step(net))
        torch.testing.assert_close(got.value, (lam * variance + mu * uniformity).detach())
        assert got.gradient.any()
        assert got.gradient.isfinite().all()
