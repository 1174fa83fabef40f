"""FedAlign: the Lipschitz constant, the value, and which weights and statistics it may touch."""

from functools import cache

import pytest
import tiny
import torch

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.fedalign import FedAlign, lipschitz
from mpifl.models.layers import rounded


def features(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def transmitting(f1, f2):
    h, w = f2.shape[-2:]
    f1 = torch.nn.functional.adaptive_avg_pool2d(f1, (h, w))
    return torch.einsum("bchw,bdhw->bcd", f1, f2) / (h * w)


@pytest.mark.parametrize("shapes", [((3, 8, 8, 8), (3, 16, 4, 4)), ((2, 16, 4, 4), (2, 8, 4, 4))])
def test_the_constant_is_the_spectral_norm_of_the_transmitting_matrix(shapes):
    f1, f2 = features(*shapes[0]), features(*shapes[1], seed=1)
    expected = torch.linalg.matrix_norm(transmitting(f1, f2), 2)
    torch.testing.assert_close(lipschitz(f1, f2, 10), expected, rtol=1e-12, atol=0)


def test_the_constant_of_a_networks_features_is_the_spectral_norm():
    entering, leaving = tiny.step(tiny.net("resnet56", norm="batch"), n=4).out.stages[-2:]
    expected = torch.linalg.matrix_norm(transmitting(entering, leaving), 2)
    torch.testing.assert_close(lipschitz(entering, leaving, 10), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("s", [0.01, 7.0])
def test_the_constant_scales_with_either_features(s):
    f1, f2 = features(2, 8, 4, 4), features(2, 8, 4, 4, seed=1)
    for scaled in (lipschitz(s * f1, f2, 10), lipschitz(f1, s * f2, 10)):
        torch.testing.assert_close(scaled, s * lipschitz(f1, f2, 10), rtol=1e-12, atol=0)


def test_features_of_zero_give_no_nan():
    f2 = torch.zeros(2, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    lipschitz(features(2, 8, 4, 4), f2, 10).sum().backward()
    assert f2.grad.isfinite().all()


@cache
def aligned():
    """Net, value and gradient of the term alone on ResNet-56 with batch norm, and the step."""
    net = tiny.net("resnet56", norm="batch")
    step = tiny.step(net, n=4)
    return net, tiny.taken(net, FedAlign(mu=0.45), step), step


def test_its_value_is_always_mu_times_the_cross_entropy():
    _, got, step = aligned()
    torch.testing.assert_close(got.value, 0.45 * CrossEntropy()(step).detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("first", ["slice", "whole"])
def test_its_gradient_is_that_of_the_scaled_distance_of_constants(first):
    net, _, step = aligned()
    got = tiny.taken(
        net, FedAlign(mu=0.45, entering=first), tiny.step(net, images=(step.x, step.y))
    )
    entering, leaving = (f.detach() for f in step.out.stages[-2:])
    part = entering[:, : rounded(entering.shape[1], 0.25)]
    of = part if first == "slice" else entering
    narrow = torch.linalg.matrix_norm(transmitting(of, net.module.last_stage(part, 0.25)), 2)
    full = torch.linalg.matrix_norm(transmitting(entering, leaving), 2)
    distance = (narrow - full).square().mean()
    expected = net.take_gradient(0.45 * CrossEntropy()(step).detach() * distance.log())
    torch.testing.assert_close(
        got.gradient, expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item()
    )


def test_only_the_57_tensors_of_the_last_stage_get_a_gradient():
    net, got, _ = aligned()
    touched = {name for name, g in tiny.slices(net, got.gradient).items() if g.any()}
    last = {name for name in tiny.slices(net, got.gradient) if name.startswith("stages.2.")}
    assert touched == last
    assert len(last) == 57


def test_weights_outside_the_slices_get_none():
    net, got, _ = aligned()
    for name, g in tiny.slices(net, got.gradient).items():
        if name.startswith("stages.2."):
            inside = tuple(slice(rounded(side, 0.25)) for side in g.shape[:2])
            assert g[inside].any()
            outside = g.clone()
            outside[inside] = 0
            assert not outside.any(), name


def test_running_statistics_are_those_of_the_full_pass_alone():
    plain, with_term = tiny.net("resnet20", norm="batch"), tiny.net("resnet20", norm="batch")
    CrossEntropy()(tiny.step(plain))
    at = tiny.step(with_term)
    (CrossEntropy()(at) + FedAlign()(at)).backward()
    assert torch.equal(plain.buffers, with_term.buffers)
    assert plain.buffers.any()


def test_where_the_constants_meet_everything_is_finite():
    net = tiny.net("resnet20", norm="group")
    got = tiny.taken(net, FedAlign(width=1.0), tiny.step(net))
    assert got.value.isfinite()
    assert got.gradient.isfinite().all()
