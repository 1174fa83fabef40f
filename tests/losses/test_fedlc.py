"""FedLC: margins by the client's class counts, and its limits."""

import numpy as np
import pytest
import tiny
import torch
from torch.nn import functional

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.fedlc import FedLC


def labelled(*y):
    return tiny.batch(len(y))[0], torch.tensor(y)


def at(counts, *y):
    return tiny.step(tiny.net(), images=labelled(*y), counts=np.array(counts))


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_it_is_cross_entropy_on_lowered_logits(tau):
    step = at([1, 16, 81, 5], 0, 1, 2, 3, 1)
    margin = tau * torch.tensor([1, 1 / 2, 1 / 3, 5**-0.25], dtype=torch.float64)
    expected = functional.cross_entropy(step.out.logits - margin, step.y)
    assert FedLC(tau=tau)(step).item() == pytest.approx(expected.item(), rel=1e-12)


def test_balanced_labels_make_it_cross_entropy():
    net, step = tiny.net(), at([7, 7, 7, 7], 0, 1, 2, 3)
    ours, plain = (
        tiny.taken(net, term, tiny.step(net, images=(step.x, step.y), counts=step.context.counts))
        for term in (FedLC(), CrossEntropy())
    )
    torch.testing.assert_close(ours.value, plain.value, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.gradient, plain.gradient, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_client_of_one_class_learns_nothing(dtype):
    net = tiny.net(dtype=dtype)
    x, y = tiny.batch(3, dtype=dtype)
    got = tiny.taken(
        net,
        FedLC(),
        tiny.step(net, images=(x, torch.full_like(y, 2)), counts=np.array([0, 0, 9, 0])),
    )
    assert got.value == 0
    assert not got.gradient.any()


def test_an_absent_class_leaves_the_softmax():
    net = tiny.net()
    step = tiny.step(net, images=labelled(0, 2, 3, 2), counts=np.array([16, 0, 16, 16]))
    got = tiny.taken(net, FedLC(), step)
    without = step.out.logits[:, [0, 2, 3]]
    expected = functional.cross_entropy(without, torch.tensor([0, 1, 2, 1]))
    assert got.value.item() == pytest.approx(expected.item(), rel=1e-12)
    assert not tiny.slices(net, got.gradient)["head.classifier.weight"][1].any()
