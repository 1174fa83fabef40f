"""FedRS: restricted softmax, by hand; also FedLC's and smoothing's values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import step_with
from torch.nn import functional

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.fedlc import FedLC
from mpifl.losses.rs import Rs

Y = torch.tensor([0])


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize("by", ["presence", "share"])
def test_classes_that_the_client_lacks_have_smaller_logits(by):
    z = row(1.0, 0.0, -1.0).requires_grad_()
    value = Rs(alpha=0.5, by=by)(step_with(z, Y, counts=np.array([5, 0, 0])))
    value.backward()
    assert value.item() == pytest.approx(0.464369, abs=5e-7)
    np.testing.assert_allclose(z.grad, [[-0.371468, 0.115612, 0.070122]], atol=5e-7)


def test_by_presence_how_much_of_a_class_there_is_does_not_count_and_by_share_it_does():
    z, counts = row(1.0, 2.0, 3.0), np.array([1, 4, 0])
    presence = Rs(alpha=0.2)(step_with(z, Y, counts=counts))
    share = Rs(alpha=0.2, by="share")(step_with(z, Y, counts=counts))
    torch.testing.assert_close(presence, functional.cross_entropy(row(1.0, 2.0, 0.6), Y))
    torch.testing.assert_close(share, functional.cross_entropy(row(0.4, 2.0, 0.6), Y))


def test_without_restriction_it_is_cross_entropy():
    z = row(1.0, 2.0, 3.0)
    value = Rs(alpha=1.0)(step_with(z, Y, counts=np.array([1, 4, 0])))
    assert value == functional.cross_entropy(z, Y)


@pytest.mark.parametrize("tau, expected", [(1.0, 0.993808), (0.1, 0.896385), (0.0, 0.885939)])
def test_fedlc_has_the_value_of_an_independent_program(tau, expected):
    step = step_with(row(0.3, -0.2, 0.1), Y, counts=np.array([10, 40, 50]))
    assert FedLC(tau=tau)(step).item() == pytest.approx(expected, abs=5e-7)


def test_label_smoothing_has_the_value_of_an_independent_program_and_its_floor():
    smooth = CrossEntropy(smoothing=0.1)
    value = smooth(step_with(row(0.3, -0.2, 0.1), Y))
    assert value.item() == pytest.approx(0.909273, abs=5e-7)
    best = smooth(step_with(row(3.332205, 0.0, 0.0), Y))
    assert best.item() == pytest.approx(0.291140, abs=5e-7)
