"""FedNova: FedAvg where all take equally many steps, and the right objective where they do not."""

import numpy as np
import pytest
import torch
from quadratics import Quadratics, distance, weights_by_round

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fednova import FedNova
from mpifl.algorithms.fedopt import Sgd
from mpifl.algorithms.fedprox import FedProx
from mpifl.training.local import Local
from mpifl.training.sampling import Participation

UNEQUAL = np.array([1, 2, 5, 9])
"""samples of the clients; in batches of one also their steps"""
MOMENTUM = {"none": {}, "plain": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}


def unequal(start=None):
    q = Quadratics()
    q.sizes = UNEQUAL
    q.start = q.start if start is None else start(q)
    return q


@pytest.mark.parametrize("kind", MOMENTUM)
@pytest.mark.parametrize("participation", [Participation(), Participation(fraction=0.5)])
def test_equal_steps_are_fedavg(kind, participation):
    q, local = Quadratics(), Local(steps=4, batch=100, lr=0.05, **MOMENTUM[kind])
    runs = (
        weights_by_round(q.experiment(algorithm, local, 6, participation))
        for algorithm in (FedNova(), FedAvg())
    )
    assert max(map(distance, *runs)) < 1e-12


def test_equal_steps_with_a_proximal_term_are_fedprox():
    q, local = Quadratics(), Local(steps=4, batch=100, lr=0.1)
    runs = (
        weights_by_round(q.experiment(algorithm, local, 6))
        for algorithm in (FedNova(mu=0.7), FedProx(mu=0.7))
    )
    assert max(map(distance, *runs)) < 1e-12


@pytest.mark.parametrize("kind", MOMENTUM)
def test_a_round_of_unequal_steps_is_the_papers_step(kind):
    options, lr, q = MOMENTUM[kind], 0.05, unequal()
    (got,) = weights_by_round(q.experiment(FedNova(), Local(batch=1, lr=lr, **options), 1))
    p, a, d = q.share("samples"), [], []
    for c, steps in enumerate(UNEQUAL):
        parameter = q.start.clone()
        optimiser = torch.optim.SGD([parameter], lr=lr, **options)
        for _ in range(steps):
            parameter.grad = q.gradient(c, parameter)
            optimiser.step()
        a.append(weight(steps, **options))
        d.append((q.start - parameter) / (lr * a[c]))
    tau = sum(p[c] * a[c] for c in range(4))
    assert distance(got, q.start - tau * lr * sum(p[c] * d[c] for c in range(4))) < 2e-12


def weight(steps, momentum=0.0, nesterov=False):
    if nesterov:
        return sum((1 - momentum ** (k + 1)) / (1 - momentum) for k in range(1, steps + 1))
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)


def test_at_small_rates_it_rests_at_the_optimum_and_fedavg_where_more_steps_count_more():
    lr = 1e-4

    def move(algorithm, p):
        q = unequal(lambda q: q.optimum(p))
        (w,) = weights_by_round(q.experiment(algorithm, Local(batch=1, lr=lr), 1))
        return distance(w, q.start) / lr

    p, steps = torch.from_numpy(UNEQUAL / UNEQUAL.sum()), torch.from_numpy(UNEQUAL)
    biased = p * steps / (p * steps).sum()
    assert move(FedNova(), p) < 0.02 < 0.5 < move(FedNova(), biased)
    assert move(FedAvg(), biased) < 0.02 < 0.5 < move(FedAvg(), p)


@pytest.mark.slow
def test_many_rounds_reach_its_fixed_point():
    q, lr = unequal(), 0.2
    local = Local(batch=1, lr=lr)
    last = weights_by_round(q.experiment(FedNova(), local, 60))[-1]
    eye, p = torch.eye(3).double(), q.share("samples")
    Q = torch.stack(
        [(eye - torch.linalg.matrix_power(eye - lr * q.A[c], K)) / K for c, K in enumerate(UNEQUAL)]
    )
    fixed = torch.linalg.solve(
        torch.einsum("c,cij->ij", p, Q), torch.einsum("c,cij,cj->i", p, Q, q.b)
    )
    assert distance(last, fixed) < 1e-10


def test_a_server_optimizer_sees_the_normalised_target():
    q, local = unequal(), Local(batch=1, lr=0.1)
    (whole,) = weights_by_round(q.experiment(FedNova(), local, 1))
    (half,) = weights_by_round(q.experiment(FedNova(server_optimizer=Sgd(lr=0.5)), local, 1))
    assert distance(half, (q.start + whole) / 2) < 1e-13
