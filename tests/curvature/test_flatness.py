"""Flatness of quadratics, where every measure has a closed form."""

from __future__ import annotations

import pytest
import torch
from quadratics import Point
from torch import Tensor

from mpifl.curvature import Curvature, Flatness, Objective, dense, flatness, sharpness
from mpifl.net import Net

A = (torch.tensor([4.0, 1.0]), torch.tensor([1.0, 4.0]))
B = (torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0]))
"""f_c = (v - b_c)' A_c (v - b_c) / 2 of two clients, with diagonal A_c"""


class Quadratic(Objective):
    """The mean over samples (client) of that client's f_c."""

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        away = self.net.module.w - torch.stack([B[c] for c in y.tolist()]).double()
        return (torch.stack([A[c] for c in y.tolist()]).double() * away**2).sum() / 2


def objective(*clients: int) -> Quadratic:
    """On the samples of these clients, one each, in batches of one."""
    data = [(torch.zeros(1, 1), torch.tensor([client])) for client in clients]
    return Quadratic(Net(Point(torch.zeros(2, dtype=torch.float64))), data)


def at(w: tuple[float, float], clients: tuple[int, ...], **options) -> Flatness:
    H = Curvature(objective(*clients), torch.tensor(w, dtype=torch.float64))
    return flatness(H, **options)


def rise(w: tuple[float, float], clients: tuple[int, ...], rho: float = 0.1) -> float:
    """The sharpness, searched closely."""
    H = Curvature(objective(*clients), torch.tensor(w, dtype=torch.float64))
    directions = torch.eye(2, dtype=torch.float64)
    return sharpness(H.objective, H.w, directions, rho=rho, tolerance=1e-9, most=200).value


def test_eigenvalues_and_traces_of_clients_and_of_all():
    for client in (0, 1):
        found = at((0.3, 0.2), (client,))
        assert found.lambda_max.value == pytest.approx(4)
        assert found.trace.value == pytest.approx(5)
    whole = at((0.3, 0.2), (0, 1))
    assert whole.lambda_max.value == pytest.approx(2.5)
    assert whole.trace.value == pytest.approx(5, rel=0.05)
    assert at((0.3, 0.2), (0,)).converged


def test_at_a_clients_own_minimum_the_search_along_the_top_eigenvector_finds_its_sharpness():
    """Where the gradient is 0, so that the ascent along it finds nothing."""
    for client, minimum in ((0, (1.0, 0.0)), (1, (-1.0, 0.0))):
        found = at(minimum, (client,), rho=0.1)
        assert found.gradient_norm == 0
        assert found.sharpness.first == 0
        assert found.sharpness.value == pytest.approx(0.02)
    assert rise((1, 0), (0, 1)) == pytest.approx(0.1125)  # the same models on all data
    assert rise((-1, 0), (0, 1)) == pytest.approx(0.4125)


def test_between_the_minima_and_at_the_federations_own():
    assert rise((0, 0), (0,)) == pytest.approx(0.42)
    assert rise((0, 0), (1,)) == pytest.approx(0.105)
    assert rise((0, 0), (0, 1)) == pytest.approx(0.1625)
    assert rise((0.6, 0), (0,)) == pytest.approx(0.18)
    assert rise((0.6, 0), (1,)) == pytest.approx(0.165)
    assert rise((0.6, 0), (0, 1)) == pytest.approx(0.0125)
    assert at((0.6, 0), (0,)).gradient_norm == pytest.approx(1.6)
    assert at((0.6, 0), (1,)).gradient_norm == pytest.approx(1.6)
    assert at((0.6, 0), (0, 1)).gradient_norm == pytest.approx(0, abs=1e-12)


def test_the_ascent_along_the_gradient_alone_stays_in_its_subspace():
    H = Curvature(objective(1), torch.tensor([0.6, 0.0], dtype=torch.float64))
    along = sharpness(H.objective, H.w, rho=1.0, tolerance=1e-9, most=200)
    assert along.value == pytest.approx(2.1)
    top = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    found = sharpness(H.objective, H.w, top, rho=1.0, tolerance=1e-9, most=200)
    assert found.value == pytest.approx(2.426667, abs=1e-6)
    assert found.first == pytest.approx(2.1)


def test_batches_of_unequal_sizes_count_by_their_samples():
    """128 samples of curvature 1 and two of curvature 10: a mean over batches would give 4."""

    class Scaled(Objective):
        def loss(self, x: Tensor, y: Tensor) -> Tensor:
            return (x.sum() * self.net.module.w**2).sum() / 2

    data = []
    for samples, curvature in ((64, 1.0), (64, 1.0), (2, 10.0)):
        data.append((torch.full((samples, 1), curvature).double(), torch.zeros(samples).long()))
    net = Net(Point(torch.ones(1, dtype=torch.float64)))
    H = Curvature(Scaled(net, data), net.weights)
    assert dense(H).item() == pytest.approx(1.138462, abs=1e-6)
