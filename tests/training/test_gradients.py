"""Gradients: the gradients of sharpness-aware steps in closed form, and what a second gradient must
not disturb.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import tiny
import torch
from quadratics import Quadratics, distance, weights_by_round
from torch import Tensor

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedprox import FedProx
from mpifl.losses.step import ClientRound
from mpifl.options import options
from mpifl.training.gradients import GRADIENTS, Asam, Blend, Gradient, Plain, Sam
from mpifl.training.local import Local
from mpifl.training.trainer import Trainer

RHO = 0.3


@dataclass
class Slope:
    """The gradient A (w - b), in one vector that every call overwrites, as a net's is."""

    A: Tensor
    b: Tensor
    scales: Tensor
    asked: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._gradient = torch.empty_like(self.b)

    def __call__(self, w: Tensor) -> Tensor:
        self.asked.append(w.clone())
        return self._gradient.copy_(self.at(w))

    def at(self, w: Tensor) -> Tensor:
        return self.A @ (w - self.b)


def slope(scales=(1.0, 1.0, 0.0)) -> Slope:
    q = Quadratics()
    return Slope(q.A[0], q.b[0], torch.tensor(scales, dtype=torch.float64))


def start() -> Tensor:
    return Quadratics().start.clone()


def used(method, gradient: Slope, w: Tensor) -> Tensor:
    before = w.clone()
    g = method(gradient, w).clone()
    assert torch.equal(w, before)
    return g


@pytest.mark.parametrize("method", [Sam(rho=RHO), Blend(rho=RHO)])
def test_sam_adds_the_curvature_along_the_gradient(method):
    gradient, w = slope(), start()
    g = gradient.at(w)
    assert distance(used(method, gradient, w), g + RHO * gradient.A @ g / g.norm()) < 1e-14
    assert (gradient.asked[1] - w).norm().item() == pytest.approx(RHO, rel=1e-14)


@pytest.mark.parametrize("w", [-2.0, 3.0])
def test_in_one_dimension_sam_adds_the_sign(w):
    a, b, one = 1.7, 0.4, torch.ones(1, dtype=torch.float64)
    gradient = Slope(a * one[:, None], b * one, one)
    got = used(Sam(rho=RHO), gradient, w * one)
    assert got.item() == pytest.approx(a * (w - b) + a * RHO * np.sign(w - b), rel=1e-14)


@pytest.mark.parametrize("eta", [0.0, 0.2])
def test_asam_perturbs_by_rho_in_the_metric_of_the_weights(eta):
    gradient, w = slope(), start()
    used(Asam(rho=RHO, eta=eta), gradient, w)
    t = torch.cat([w[:2].abs() + eta, torch.ones(1, dtype=torch.float64)])  # the third is a bias
    assert ((gradient.asked[1] - w) / t).norm().item() == pytest.approx(RHO, rel=1e-13)
    g = gradient.at(w)
    expected = RHO * t**2 * g / (t * g).norm()
    assert distance(gradient.asked[1] - w, expected) < 1e-14


@pytest.mark.parametrize(
    ("method", "equivariant"),
    [(Asam(rho=RHO, eta=0.0), True), (Asam(rho=RHO, eta=0.2), False), (Sam(rho=RHO), False)],
)
def test_only_asam_without_eta_follows_a_rescaling_of_the_weights(method, equivariant):
    """With w' = D w and the same loss, f'(w') = f(w), the perturbation is multiplied by D."""
    D = torch.tensor([0.1, 3.0, -2.0], dtype=torch.float64)
    gradient, w = slope(scales=(1, 1, 1)), start()
    scaled = Slope(gradient.A / D[:, None] / D, D * gradient.b, gradient.scales)
    used(method, gradient, w)
    used(method, scaled, D * w)
    first, second = gradient.asked[1] - w, scaled.asked[1] - D * w
    assert (distance(second, D * first) < 1e-13) == equivariant


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("mix", [0.25, 1.0])
def test_blend_mixes_both_gradients(mix, normalise):
    gradient, w = slope(), start()
    g = gradient.at(w)
    second = gradient.at(w + RHO * (g / g.norm() if normalise else g))
    got = used(Blend(rho=RHO, mix=mix, normalise=normalise), gradient, w)
    assert distance(got, (1 - mix) * g + mix * second) < 1e-14


NEUTRAL = [Plain(), Sam(rho=0.0), Asam(rho=0.0), Blend(rho=0.0), Blend(mix=0.0)]


@pytest.mark.parametrize("method", NEUTRAL)
def test_at_strength_zero_it_is_the_plain_gradient_asked_for_once(method):
    gradient, w = slope(), start()
    assert torch.equal(used(method, gradient, w), gradient.at(w))
    assert len(gradient.asked) == 1


@pytest.mark.parametrize("name", GRADIENTS)
def test_where_the_gradient_vanishes_nothing_becomes_nan(name):
    gradient = slope()
    assert torch.equal(used(GRADIENTS[name](), gradient, gradient.b), torch.zeros(3).double())


def test_decay_and_momentum_see_the_second_gradient_at_the_unperturbed_weights():
    q, lr, decay, momentum, p = Quadratics(), 0.1, 0.3, 0.9, None
    local = Local(
        steps=2, batch=100, lr=lr, weight_decay=decay, momentum=momentum, gradient=Sam(rho=RHO)
    )
    (got,) = weights_by_round(q.experiment(FedProx(mu=0.5), local, 1))
    p, expected = q.share("samples"), 0
    for c in range(4):
        w, v = q.start, 0
        for _ in range(2):
            g = q.gradient(c, w)
            g = q.gradient(c, w + RHO * g / g.norm()) + 0.5 * (w - q.start) + decay * w
            v = momentum * v + g
            w = w - lr * v
        expected = expected + p[c] * w
    assert distance(got, expected) < 1e-12


@options
class Twice(Gradient):
    """Asks for two gradients at the same weights and holds them against each other."""

    def __call__(self, gradient, w: Tensor) -> Tensor:
        first = gradient(w).clone()
        assert torch.equal(first, gradient(w.clone()))
        return first


EVERYTHING = "mixup(stochdepth(ce + man + fedalign, keep=0.3) + gradaug) + moon"


def trained(loss: str, method) -> tuple[Tensor, float]:
    """Buffers of a residual network with batch norm after two steps, and how far its weights moved,
    at no rate.
    """
    net = tiny.net("resnet20", norm="batch", projection=8)
    w, buffers = net.weights.clone(), net.buffers.clone()
    context = ClientRound(
        1, 1, 2, tiny.CLASSES, np.arange(tiny.CLASSES), (w, buffers), (w + 0.01, buffers)
    )
    local = Local(lr=1e-300, clip=1.0, gradient=method)
    some = [tiny.batch(4, seed=i) for i in range(2)]
    trained = Trainer(net, tiny.loss(loss), local)(some, context, local.lr, w)
    return net.buffers.clone(), distance(trained.y, w)


def test_both_gradients_see_the_same_draws():
    trained(EVERYTHING, Twice())


@pytest.mark.slow
@pytest.mark.parametrize("method", [Sam(), Asam(), Blend(mix=0.5), Twice()])
@pytest.mark.parametrize("loss", ["mixup(ce)", "gradaug + mixup(ce)", EVERYTHING])
def test_running_statistics_move_on_the_first_pass_only_and_weights_come_back(loss, method):
    (plain, _), (got, moved) = trained(loss, Plain()), trained(loss, method)
    assert torch.equal(plain, got)
    assert moved < 1e-290


def test_fedsam_is_fedavg_under_sam():
    q = Quadratics()
    (got,) = weights_by_round(
        q.experiment(FedAvg(), Local(steps=1, batch=100, lr=0.1, gradient=Sam(rho=RHO)), 1)
    )
    p, w = q.share("samples"), q.start
    g = [q.gradient(c, w) for c in range(4)]
    assert (
        distance(
            got, w - 0.1 * sum(p[c] * (g[c] + RHO * q.A[c] @ g[c] / g[c].norm()) for c in range(4))
        )
        < 1e-13
    )


@pytest.mark.parametrize("method", [Sam(rho=RHO), Blend(rho=RHO)])
def test_the_perturbation_has_length_rho_also_where_squares_overflow(method):
    q = Quadratics()
    gradient = Slope(q.A[0].float() * 1e25, q.b[0].float(), torch.ones(3))
    w = start().float()
    used(method, gradient, w)
    at_first, perturbed = gradient.asked
    assert float((perturbed - at_first).norm()) == pytest.approx(RHO, rel=1e-5)
