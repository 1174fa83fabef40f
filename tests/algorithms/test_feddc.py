"""FedDC: its paper's local problem and updates, its fixed point, and its optimum."""

import pytest
import torch
from quadratics import Quadratics, distance, mean, moments, weights_by_round

from mpifl.algorithms.feddc import FedDC
from mpifl.training.local import Local
from mpifl.training.sampling import Participation

LR = 0.2
LOCAL = Local(steps=5, batch=100, lr=LR)
HALF = Participation(fraction=0.5)


def test_every_round_is_the_authors_algorithm():
    q, n, alpha = Quadratics(), 4, 0.3
    x = q.experiment(FedDC(alpha=alpha), LOCAL, 6, HALF, objective="uniform")
    # of all steps' gradients in (w - y) / LR
    weight = (1 - (1 - LR * alpha) ** LOCAL.steps) / (LR * alpha)
    zero = torch.zeros(3).double()
    w, c, c_i, h_i = q.start, zero, [zero] * n, [zero] * n
    for round, moment in enumerate(moments(x), start=1):
        cohort, y, delta = HALF.cohort(1, round, n), {}, {}
        for i in cohort:
            y[i] = w
            for _ in range(LOCAL.steps):
                y[i] = y[i] - LR * (q.gradient(i, y[i]) + alpha * (y[i] + h_i[i] - w) + c - c_i[i])
            h_i[i] = h_i[i] + y[i] - w
            renewed = c_i[i] - c + (w - y[i]) / (LR * weight)
            delta[i], c_i[i] = renewed - c_i[i], renewed
        w = sum(y.values()) / len(cohort) + sum(h_i) / n
        c = c + sum(delta.values()) / n
        assert distance(moment.w, w) < 1e-12
        assert distance(moment.server["c"], c) < 1e-12
        assert all(distance(moment.clients[i]["drift"], h_i[i]) < 1e-12 for i in range(n))


@pytest.mark.parametrize("objective", ["samples", "uniform"])
def test_the_servers_drift_and_control_are_the_means_of_the_clients(objective):
    q = Quadratics()
    for moment in moments(q.experiment(FedDC(alpha=0.1), LOCAL, 20, HALF, objective=objective)):
        for name in ("drift", "c"):
            assert (
                distance(moment.server[name], mean(q.share(objective), moment.clients, name))
                < 1e-12
            )


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["samples", "uniform"])
@pytest.mark.parametrize(
    ("alpha", "participation", "rounds"),
    [
        (0.01, Participation(), 90),
        (0.1, Participation(), 90),
        (0.5, Participation(), 90),
        (0.1, HALF, 170),
    ],
)
def test_reaches_the_optimum_of_the_objective_and_its_fixed_points_identities(
    alpha, participation, rounds, objective
):
    q = Quadratics()
    optimum = q.optimum(q.share(objective))
    last = moments(
        q.experiment(FedDC(alpha=alpha), LOCAL, rounds, participation, objective=objective)
    )[-1]
    assert distance(last.w, optimum) < 1e-10
    assert last.server["c"].abs().max() < 1e-10
    assert last.server["drift"].abs().max() < 1e-10
    for i, state in enumerate(last.clients):
        assert distance(last.models[i], optimum) < 1e-9
        assert distance(alpha * state["drift"], state["c"] - q.gradient(i, optimum)) < 1e-9


@pytest.mark.slow
def test_reaches_the_optimum_with_local_momentum():
    q = Quadratics()
    local = Local(steps=5, batch=100, lr=0.05, momentum=0.9)
    last = weights_by_round(q.experiment(FedDC(alpha=0.1), local, 90))[-1]
    assert distance(last, q.optimum(q.share("samples"))) < 1e-10
