"""Mixup: soft labels, the pairs of a batch, and how a wrapper differs from a term beside it."""

import pytest
import tiny
import torch
from torch.nn import functional

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.mixup import Mixup


def drawn(step, gamma):
    random = step.random("mixup")
    return random.beta(gamma, gamma), torch.from_numpy(random.permutation(len(step.y)))


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_it_is_the_cross_entropy_of_mixed_images_with_soft_labels(gamma, number):
    net = tiny.net()
    step = tiny.step(net, number=number)
    lam, order = drawn(step, gamma)
    got = tiny.taken(net, Mixup(loss=CrossEntropy(), gamma=gamma), step)
    hot = functional.one_hot(step.y, tiny.CLASSES).double()
    logits = net(lam * step.x + (1 - lam) * step.x[order]).logits
    expected = functional.cross_entropy(logits, lam * hot + (1 - lam) * hot[order])
    torch.testing.assert_close(got.value, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(got.gradient, net.take_gradient(expected), rtol=1e-10, atol=1e-15)
    assert len(step.passes) == 1
    assert sorted(order.tolist()) == list(range(6))


def test_other_steps_draw_otherwise_and_the_same_step_the_same():
    at = [tiny.step(tiny.net(), number=number) for number in (0, 0, 1)]
    (lam, order), (again, order_again), (other, _) = (drawn(step, 1.0) for step in at)
    assert lam == again != other
    assert torch.equal(order, order_again)


def test_a_batch_of_one_is_mixed_with_itself():
    step = tiny.step(tiny.net(), n=1)
    plain = CrossEntropy()(tiny.step(tiny.net(), n=1))
    torch.testing.assert_close(Mixup(loss=CrossEntropy())(step), plain, rtol=1e-12, atol=0)


def test_a_term_inside_sees_mixed_images_and_one_beside_it_clean_ones():
    def value(text):
        return tiny.loss(text)(tiny.step(tiny.net())).item()

    mixed, clean = value("mixup(ce, gamma=1.0)"), value("man(zeta=0.5)")
    beside, inside = (
        value("mixup(ce, gamma=1.0) + man(zeta=0.5)"),
        value("mixup(ce + man(zeta=0.5), gamma=1.0)"),
    )
    assert beside == pytest.approx(mixed + clean, rel=1e-12)
    assert inside != pytest.approx(beside, rel=1e-3)
    step = tiny.step(tiny.net())
    lam, order = drawn(step, 1.0)
    seen = step.derived(x=lam * step.x + (1 - lam) * step.x[order])
    assert inside == pytest.approx(mixed + tiny.loss("man(zeta=0.5)")(seen).item(), rel=1e-12)
