"""Sliceable layers and norms: at full width they are torch's, cut they are the first channels' own
network.
"""

from contextlib import nullcontext
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mpifl.models.layers import (
    BatchNorm,
    Conv,
    Linear,
    NormKind,
    feature_norm,
    norm,
    rounded,
    scaled,
    shifted,
    unit,
    untracked,
)
from mpifl.options import BadInput


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "channels, width, expected",
    [
        (64, 0.25, 16),
        (256, 0.25, 64),
        (16, 0.8, 16),
        (64, 0.8, 48),
        (100, 0.01, 8),
        (12, 0.95, 12),
        (6, 0.5, 6),
    ],
)
def test_widths_round_to_multiples_of_eight_and_stay_within_the_layer(channels, width, expected):
    assert rounded(channels, width) == expected


def test_a_cut_convolution_is_the_convolution_of_its_first_filters():
    conv, x = Conv(16, 24, 3, padding=1), images(2, 8, 5, 5)
    assert torch.equal(conv(x, 16), F.conv2d(x, conv.weight[:16, :8], conv.bias[:16], padding=1))
    assert torch.equal(conv(images(2, 16, 5, 5)), nn.Conv2d.forward(conv, images(2, 16, 5, 5)))


def test_a_cut_linear_layer_takes_as_many_columns_as_it_gets():
    linear, x = Linear(8, 5), images(3, 4)
    assert torch.equal(linear(x, 5), F.linear(x, linear.weight[:, :4], linear.bias))
    assert torch.equal(linear(x, 2), F.linear(x, linear.weight[:2, :4], linear.bias[:2]))


def test_a_linear_layer_that_is_not_cut_refuses_inputs_of_another_size():
    with pytest.raises(BadInput, match=r"^model: expected 8 numbers at a linear layer.*; got 4$"):
        Linear(8, 5)(images(3, 4))


@pytest.mark.parametrize("shape", [(6, 8, 3, 3), (6, 8)])
def test_batch_norm_is_torchs_in_training_and_evaluation(shape):
    ours, theirs = BatchNorm(8), nn.BatchNorm2d(8) if len(shape) == 4 else nn.BatchNorm1d(8)
    for step in range(3):
        x = 3 + images(*shape, seed=step)
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_mean, theirs.running_mean)
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert all(buffer.is_floating_point() for buffer in ours.buffers())


def test_running_statistics_move_a_tenth_towards_those_pooled_over_batch_and_pixels():
    layer, x = BatchNorm(2), 5 + 2 * images(4, 2, 3, 3)
    layer(x)
    values = x.transpose(0, 1).flatten(1)
    torch.testing.assert_close(layer.running_mean, 0.1 * values.mean(1))
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * values.var(1))


@pytest.mark.parametrize("how", ["cut", "full sub-network", "not tracked"])
def test_batch_norm_uses_the_batch_and_leaves_running_statistics_alone_when(how):
    layer, x = BatchNorm(16), 5 + images(4, 8 if how == "cut" else 16, 3, 3)
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    with untracked(layer) if how == "not tracked" else nullcontext():
        y = layer(x, sub=how != "not tracked")
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-5, rtol=0)
    assert all(torch.equal(before[name], buffer) for name, buffer in layer.named_buffers())


def test_no_batch_norm_inside_tracks_until_the_outermost_untracked_ends():
    net = nn.Sequential(BatchNorm(2), nn.Sequential(BatchNorm(2), nn.ReLU()))
    with untracked(net):
        with untracked(net):
            pass
        assert [net[0].track, net[1][0].track] == [False, False]
    assert [net[0].track, net[1][0].track] == [True, True]


def test_a_single_value_per_channel_is_normalised_by_the_running_statistics():
    layer, x = BatchNorm(4), images(1, 4)
    torch.testing.assert_close(layer(x), x / (1 + 1e-5) ** 0.5)
    assert torch.equal(layer.running_mean, torch.zeros(4))


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_gives_each_sample_mean_zero_and_variance_one(affine):
    y = norm("layer", 6, affine=affine)(2 + 3 * images(5, 6, 4, 4)).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(5), atol=1e-4, rtol=0)


def test_a_cut_group_norm_keeps_its_channels_per_group():
    layer, x = norm("group", 32, groups=4), images(2, 32, 3, 3)
    torch.testing.assert_close(layer(x[:, :16], sub=True), layer(x)[:, :16])


@pytest.mark.parametrize("channels", [8, 24, 40, 48, 64])
def test_a_cut_group_norm_always_finds_groups(channels):
    assert norm("group", 64, groups=2)(images(2, channels, 3, 3), sub=True).isfinite().all()


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(BadInput, match=r"model\.groups: expected a divisor .* got 3 for 64"):
        norm("group", 64, groups=3)


@pytest.mark.parametrize("shape", [(5, 6, 4, 4), (5, 6)])
def test_the_parts_of_layer_norm_are_mean_zero_norm_root_m_and_norm_one(shape):
    x = 2 + 3 * images(*shape)
    m = x[0].numel()
    shift, scale, one = (norm(kind, 6, affine=False)(x) for kind in ("shift", "scale", "l2"))
    torch.testing.assert_close(shift, torch.stack([sample - sample.mean() for sample in x]))
    torch.testing.assert_close(
        scale, torch.stack([m**0.5 * sample / sample.norm() for sample in x])
    )
    torch.testing.assert_close(one, torch.stack([sample / sample.norm() for sample in x]))


@pytest.mark.parametrize("shape", [(5, 6, 4, 4), (5, 6)])
def test_shift_and_then_scale_is_layer_norm_but_for_its_eps(shape):
    x = 2 + 3 * images(*shape).double()
    layer = norm("layer", 6, affine=False)
    layer.eps = 0.0
    torch.testing.assert_close(scaled(shifted(x)), layer(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["scale", "l2", "shift"])
def test_a_cut_norm_by_sample_is_that_of_the_first_channels(kind):
    layer, x = norm(kind, 16), images(3, 8, 5, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(16.0))
        layer.bias.fill_(0.5)
    y = norm(kind, 8, affine=False)(x)
    torch.testing.assert_close(layer(x, sub=True), torch.arange(8.0).view(8, 1, 1) * y + 0.5)


@pytest.mark.parametrize("kind", ["scale", "l2"])
def test_an_image_of_zeros_stays_and_has_finite_derivatives(kind):
    x = torch.zeros(2, 4, 3, 3, requires_grad=True)
    y = norm(kind, 4, affine=False)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert not y.any() and gradient.isfinite().all()


@pytest.mark.parametrize("kind", get_args(NormKind))
@pytest.mark.parametrize("affine", [True, False])
def test_norms_have_a_scale_and_shift_only_if_asked(kind, affine):
    parameters = sum(p.numel() for p in norm(kind, 8, Linear(3, 8), affine=affine).parameters())
    assert parameters == (16 if affine and kind != "none" else 0)


def test_normed_features_have_norm_root_q_and_a_gradient_across_them():
    f = images(5, 192).requires_grad_()
    y = feature_norm(f)
    torch.testing.assert_close(y.norm(dim=1), torch.full((5,), 192**0.5))
    (gradient,) = torch.autograd.grad((y * images(5, 192, seed=1)).sum(), f)
    along = (gradient * f).sum(1) / (gradient.norm(dim=1) * f.norm(dim=1))
    torch.testing.assert_close(along, torch.zeros(5), atol=1e-6, rtol=0)


def test_kinds_of_feature_norm():
    f = 3 + images(5, 192)
    torch.testing.assert_close(feature_norm(f, False), f)
    torch.testing.assert_close(feature_norm(f, "l2"), unit(f))
    torch.testing.assert_close(unit(f).norm(dim=1), torch.ones(5))
    torch.testing.assert_close(feature_norm(f, "shift").mean(1), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(feature_norm(f, "layer"), scaled(shifted(f)))
    torch.testing.assert_close(
        feature_norm(f, "layer"), torch.nn.functional.layer_norm(f, (192,)), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-13, 1e-11, 1.0, 1e15])
def test_the_feature_norm_has_finite_first_and_second_derivatives(scale):
    f = (scale * images(3, 8)).requires_grad_()
    (first,) = torch.autograd.grad(
        (feature_norm(f) * images(3, 8, seed=1)).sum(), f, create_graph=True
    )
    assert first.isfinite().all()
    if scale in (0.0, 1.0):
        (second,) = torch.autograd.grad(first.sum(), f)
        assert second.isfinite().all()
