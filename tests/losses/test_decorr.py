"""FedDecorr: correlations of a batch's features, by hand."""

from __future__ import annotations

import pytest
import tiny
import torch

from mpifl.losses.decorr import Decorr, squared_correlations


def features(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_features_in_step_have_the_largest_value_of_their_batch():
    f = features((1, 2), (2, 4), (3, 6), (4, 8))
    assert squared_correlations(f).item() == pytest.approx(2.25, rel=1e-7)


def test_features_without_correlation_have_none():
    f = features((1, 1), (1, -1), (-1, 1), (-1, -1))
    assert abs(squared_correlations(f).item()) < 1e-14


@pytest.mark.parametrize("batch, factor", [(32, 30.03), (64, 62.02)])
def test_it_is_the_mean_squared_correlation_times_a_factor_of_the_batch(batch, factor):
    f = torch.randn(batch, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r = torch.corrcoef(f.T)
    between = (r.square().sum() - 5) / 20
    assert (squared_correlations(f) / between).item() == pytest.approx(factor, abs=0.005)


@pytest.mark.parametrize("q", [3, 9])
def test_neither_scale_nor_shift_counts_and_gradients_of_a_feature_sum_to_zero(q):
    f = torch.randn(6, q, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f.requires_grad_()
    value = squared_correlations(f)
    torch.testing.assert_close(squared_correlations(2.5 * f + 7), value, rtol=1e-6, atol=0)
    value.backward()
    assert f.grad.abs().max() > 1e-3
    torch.testing.assert_close(f.grad.sum(0), torch.zeros(q, dtype=torch.float64))


def test_more_features_than_samples_are_summed_alike():
    """Then the matrix of samples is taken, which is smaller."""
    f = torch.randn(4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    r = torch.corrcoef(f.T)
    between = (r.square().sum() - 7) / 42
    assert squared_correlations(f).item() == pytest.approx((9 / 4 * between).item(), rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 3), (4, 1)])
def test_one_sample_or_one_feature_has_no_correlation(shape):
    assert squared_correlations(torch.ones(shape)) == 0


def test_the_term_is_of_the_features_that_enter_the_classifier():
    net = tiny.net()
    got = tiny.taken(net, Decorr(beta=0.3), tiny.step(net))
    expected = 0.3 * squared_correlations(tiny.step(net).out.features)
    torch.testing.assert_close(got.value, expected.detach())
    assert not tiny.slices(net, got.gradient)["head.classifier.weight"].any()
    assert got.gradient.any()
