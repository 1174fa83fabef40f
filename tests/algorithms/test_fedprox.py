"""FedProx: its first step, its local fixed point, and its equality with the term `prox`."""

import torch
from quadratics import Quadratics, distance, weights_by_round

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedprox import FedProx
from mpifl.training.local import Local

MU = 0.8


def test_many_local_steps_reach_the_proximal_point():
    q = Quadratics()
    (got,) = weights_by_round(q.experiment(FedProx(mu=MU), Local(steps=200, batch=100, lr=0.3), 1))
    w, p, eye = q.start, q.share("samples"), torch.eye(3).double()
    points = [torch.linalg.solve(q.A[c] + MU * eye, q.A[c] @ q.b[c] + MU * w) for c in range(4)]
    assert distance(got, sum(p[c] * points[c] for c in range(4))) < 1e-12


def test_the_proximal_term_does_not_change_the_first_step_of_a_round():
    q, local = Quadratics(), Local(steps=1, batch=100, lr=0.2)
    ours, fedavg = (
        weights_by_round(q.experiment(algorithm, local, 5))
        for algorithm in (FedProx(mu=MU), FedAvg())
    )
    assert all(map(torch.equal, ours, fedavg))


def test_prox_as_a_loss_term_gives_the_same_round():
    q, local = Quadratics(), Local(steps=4, batch=100, lr=0.2)
    prox = weights_by_round(q.experiment(FedProx(mu=MU), local, 5))
    q.pull = MU
    assert all(map(torch.equal, prox, weights_by_round(q.experiment(FedAvg(), local, 5))))
