"""FedRCL: its contrast and penalty on a circle, and the levels of a ResNet."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from mpifl.losses.rcl import Rcl, relaxed_contrast


def circle(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize(
    "degrees, labels, contrast, penalty",
    [
        ((0, 20, 90), (0, 0, 1), 2.790939e-6, 0.174575),
        ((0, 50, 90), (0, 0, 1), 0.851987, 4.2e-18),
        ((0, 20, 40), (0, 0, 0), 0.0, 0.0934505),
    ],
)
def test_means_are_those_of_an_independent_program(degrees, labels, contrast, penalty):
    scl, pen = relaxed_contrast(circle(*degrees), torch.tensor(labels), 0.05)
    np.testing.assert_allclose(scl.mean(), contrast, rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(pen.mean(), penalty, rtol=2e-2 if penalty < 1e-9 else 1e-5)


def test_the_norm_of_features_does_not_count():
    f, y = circle(0, 20, 90), torch.tensor([0, 0, 1])
    scaled = f * torch.tensor([[2.0], [3.0], [5.0]], dtype=torch.float64)
    torch.testing.assert_close(relaxed_contrast(scaled, y, 0.05), relaxed_contrast(f, y, 0.05))


@pytest.mark.parametrize("labels", [(0,), (0, 0, 0), (0, 1, 2), (0, 1, 1, 1)])
def test_gradients_are_finite_whatever_the_classes(labels):
    random = torch.Generator().manual_seed(0)
    f = torch.randn(len(labels), 3, generator=random, dtype=torch.float64).requires_grad_()
    contrast, penalty = relaxed_contrast(f, torch.tensor(labels), 0.05)
    (contrast.sum() + penalty.sum()).backward()
    assert f.grad.isfinite().all()


@pytest.mark.parametrize("after", [False, True])
def test_levels_are_what_enters_the_last_nonlinearity_of_stem_and_stages(after):
    net = tiny.net("resnet20", norm="batch", norm_after_activation=after)
    step = tiny.step(net)
    inputs = step.out.inputs
    ends = [0, *net.module.hidden_layers.ends_of_stages]
    assert ends == [0, 6, 12, 18]
    expected = torch.zeros((), dtype=torch.float64)
    for number in ends:
        contrast, penalty = relaxed_contrast(inputs[number].mean((2, 3)), step.y, 0.05)
        expected += (0.5 * contrast + 2.0 * penalty).detach().mean() / 4
    got = tiny.taken(net, Rcl(a=0.5, b=2.0), tiny.step(net))
    torch.testing.assert_close(got.value, expected)
    for number in ends[1:] if not after else ():  # the ReLUs come after them
        assert torch.equal(inputs[number].relu(), step.out.activations[number])
    moved = tiny.slices(net, got.gradient)
    assert not moved["head.classifier.weight"].any()
    assert moved["stem.conv.weight"].any()


def test_skipped_blocks_end_their_stages_all_the_same():
    net = tiny.net("resnet20", norm="batch")
    step = tiny.step(net).derived(
        forward={"keep": frozenset({"inputs"}), "gates": [0.0] * net.module.blocks}
    )
    assert Rcl()(step).isfinite()
