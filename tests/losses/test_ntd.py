"""FedNTD and FedLMD: their values by hand, and which logits move."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch

from mpifl.losses.ntd import Ntd, divergence

Z = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
U = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
Y = torch.tensor([0])


def of(z, u=U, y=Y, tau=1.0, frequent=None):
    z = z.clone().requires_grad_()
    value = divergence(z, u, y, tau, frequent)
    value.backward()
    return value.item(), z.grad


@pytest.mark.parametrize("tau, expected", [(1.0, 0.462117), (3.0, 0.055047)])
def test_the_value_is_that_of_an_independent_program(tau, expected):
    value, _ = of(Z, tau=tau)
    assert value == pytest.approx(expected, abs=5e-7)


def test_the_gradient_moves_all_classes_but_the_true_one():
    _, gradient = of(Z)
    np.testing.assert_allclose(gradient, [[0, 0.462117, -0.462117]], atol=5e-7)
    assert gradient[0, 0] == 0


def test_a_client_that_equals_its_teacher_learns_nothing():
    value, gradient = of(Z, u=Z)
    assert value == 0
    assert not gradient.any()


def test_with_two_classes_there_is_nothing_to_teach():
    value, gradient = of(Z[:, :2], u=U[:, :2])
    assert value == 0
    assert not gradient.any()


def test_fedlmd_leaves_frequent_classes_to_the_client():
    value, _ = of(Z, frequent=torch.tensor([False, True, False]))
    assert value == pytest.approx(math.log(1 + math.e), rel=1e-12)


def test_fedlmd_is_fedntd_for_a_sample_of_which_no_class_would_be_left():
    frequent = torch.tensor([False, True, True])
    assert of(Z, frequent=frequent)[0] == of(Z)[0]
    y = torch.tensor([0, 1])
    z, u = Z.expand(2, 3), U.expand(2, 3)
    left, taught = of(z, u, y, frequent=frequent)[0], of(z[1:], u[1:], y[1:], frequent=frequent)[0]
    assert left == pytest.approx((of(Z)[0] + taught) / 2, rel=1e-12)


def test_the_teacher_is_the_sent_model_in_evaluation_mode():
    net = tiny.net("resnet20", norm="batch")
    sent = net.weights + 0.1, net.buffers + 0.5
    step = tiny.step(net, sent=sent)
    got = tiny.taken(net, Ntd(beta=0.7, tau=2.0), step)
    fresh = tiny.net("resnet20", norm="batch")
    fresh.load(*sent)
    fresh.module.eval()
    with torch.no_grad():
        u = fresh(step.x).logits
    t, q = (
        (logits / 2).masked_fill(torch.eye(tiny.CLASSES, dtype=torch.bool)[step.y], -torch.inf)
        for logits in (u, tiny.step(net).out.logits)
    )
    t, q = t.softmax(-1), q.softmax(-1)
    expected = 0.7 * (torch.xlogy(t, t) - torch.xlogy(t, q)).sum(-1).mean()
    torch.testing.assert_close(got.value, expected.detach(), rtol=1e-9, atol=0)
    assert got.gradient.any()


def test_fedlmd_looks_at_the_clients_counts_and_multiplies_by_tau_squared():
    net = tiny.net()
    sent = net.weights + 0.1, net.buffers
    lmd = Ntd(beta=2.0, tau=3.0, leave_out="frequent")
    for counts in ([10, 10, 10, 10], [1, 37, 1, 1]):
        step = tiny.step(net, sent=sent, counts=np.array(counts))
        u = net.twin("sent", sent)(step.x).logits
        frequent = torch.tensor([False, counts[1] == 37, False, False])
        expected = 2 * 9 * divergence(step.out.logits, u, step.y, 3.0, frequent)
        torch.testing.assert_close(lmd(step), expected)
        is_ntd = counts[1] == 10
        assert is_ntd == np.isclose(lmd(step).item(), 9 * Ntd(beta=2.0, tau=3.0)(step).item())
