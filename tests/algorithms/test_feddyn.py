"""FedDyn against its paper's text, its fixed point, and the optimum that it promises."""

import pytest
import torch
from quadratics import Quadratics, distance, mean, moments, weights_by_round

from mpifl.algorithms.feddyn import FedDyn
from mpifl.training.local import Local
from mpifl.training.sampling import Participation

LR, ALPHA = 0.2, 0.5
LOCAL = Local(steps=5, batch=100, lr=LR)
EXACT = Local(steps=220, batch=100, lr=0.3)
"""enough steps to solve the local problem"""
HALF = Participation(fraction=0.5)


@pytest.mark.parametrize("objective", ["samples", "uniform"])
def test_the_accumulated_form_is_the_papers_with_g_and_h(objective):
    q, n, rounds = Quadratics(), 4, 6
    x = q.experiment(FedDyn(alpha=ALPHA), LOCAL, rounds, HALF, objective=objective)
    p, w, h = q.share(objective), q.start, torch.zeros(3).double()
    g = [torch.zeros(3).double()] * n
    for round, moment in enumerate(moments(x), start=1):
        cohort, theta = HALF.cohort(1, round, n), {}
        for c in cohort:
            theta[c] = w
            for _ in range(LOCAL.steps):
                gradient = q.gradient(c, theta[c]) - g[c] + ALPHA * (theta[c] - w)
                theta[c] = theta[c] - LR * gradient
            g[c] = g[c] - ALPHA * (theta[c] - w)
        h = h - ALPHA * sum(p[c] * (theta[c] - w) for c in cohort)
        w = sum(p[c] * theta[c] for c in cohort) / sum(p[c] for c in cohort) - h / ALPHA
        assert distance(moment.w, w) < 1e-12
        assert distance(-ALPHA * moment.server["dual"], h) < 1e-12
        assert all(distance(-ALPHA * moment.clients[c]["dual"], g[c]) < 1e-12 for c in range(n))


@pytest.mark.parametrize("objective", ["samples", "uniform"])
@pytest.mark.parametrize(
    "participation", [Participation(), HALF, Participation(kind="bernoulli", fraction=0.5)]
)
def test_the_servers_dual_is_the_mean_of_the_clients_after_every_round(objective, participation):
    q = Quadratics()
    for moment in moments(
        q.experiment(FedDyn(alpha=ALPHA), LOCAL, 20, participation, objective=objective)
    ):
        assert (
            distance(moment.server["dual"], mean(q.share(objective), moment.clients, "dual"))
            < 1e-12
        )


def test_after_an_exact_local_solve_the_dual_is_the_gradient_there():
    q = Quadratics()
    for moment in moments(q.experiment(FedDyn(alpha=ALPHA), EXACT, 4, HALF)):
        for c in range(4):
            if moment.clients[c]["dual"].any():  # it has taken part
                dual = -ALPHA * moment.clients[c]["dual"]
                assert distance(dual, q.gradient(c, moment.models[c])) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["samples", "uniform"])
@pytest.mark.parametrize(("participation", "rounds"), [(Participation(), 80), (HALF, 100)])
def test_reaches_the_optimum_of_the_objective_in_a_few_steps_a_round(
    objective, participation, rounds
):
    q = Quadratics(d=2)
    optimum = q.optimum(q.share(objective))
    alpha = 2.0
    last = moments(
        q.experiment(FedDyn(alpha=alpha), LOCAL, rounds, participation, objective=objective)
    )[-1]
    assert distance(last.w, optimum) < 1e-10
    assert last.server["dual"].abs().max() < 1e-10
    for c in range(4):
        assert distance(last.models[c], optimum) < 1e-9
        assert distance(-alpha * last.clients[c]["dual"], q.gradient(c, optimum)) < 1e-9


def test_a_single_client_is_over_relaxed():
    q = Quadratics(clients=1)
    before = q.start
    (after,) = weights_by_round(q.experiment(FedDyn(alpha=ALPHA), EXACT, 1))
    A, b = q.A[0], q.b[0]
    theta = torch.linalg.solve(A + ALPHA * torch.eye(3), A @ b + ALPHA * before)
    assert distance(after, 2 * theta - before) < 1e-12
