"""FedSpeed against its authors' code, and its limit: the optimum of the perturbed gradients."""

import pytest
import torch
from quadratics import Quadratics, distance, moments, weights_by_round

from mpifl.algorithms.fedspeed import FedSpeed
from mpifl.training.local import Local
from mpifl.training.sampling import Participation

LR, ALPHA, RHO, MIX = 0.2, 0.5, 0.3, 0.6
LOCAL = Local(steps=5, batch=100, lr=LR)
HALF = Participation(fraction=0.5)


def blended(q, c, y, normalise):
    g = q.gradient(c, y)
    ascent = RHO * g / g.norm() if normalise else RHO * g
    return (1 - MIX) * g + MIX * q.gradient(c, y + ascent)


@pytest.mark.parametrize("normalise", [True, False])
def test_every_round_is_the_papers_local_algorithm_under_feddyns_server(normalise):
    q, n = Quadratics(), 4
    algorithm = FedSpeed(alpha=ALPHA, rho=RHO, mix=MIX, normalise=normalise)
    x = q.experiment(algorithm, LOCAL, 6, HALF, objective="uniform")
    w, ghat = q.start, [torch.zeros(3).double()] * n
    for round, moment in enumerate(moments(x), start=1):
        cohort, y = HALF.cohort(1, round, n), {}
        for c in cohort:
            y[c] = w
            for _ in range(LOCAL.steps):
                y[c] = y[c] - LR * (blended(q, c, y[c], normalise) - ghat[c] + ALPHA * (y[c] - w))
            ghat[c] = ghat[c] - ALPHA * (y[c] - w)
        w = sum(y.values()) / len(cohort) - sum(ghat) / n / ALPHA
        assert distance(moment.w, w) < 1e-12
        assert all(distance(-ALPHA * moment.clients[c]["dual"], ghat[c]) < 1e-12 for c in range(n))


def test_the_papers_server_averages_what_the_cohort_sends():
    q, n = Quadratics(), 4
    x = q.experiment(
        FedSpeed(alpha=ALPHA, rho=0.0, duals="cohort"), LOCAL, 6, HALF, objective="uniform"
    )
    w, duals = q.start, [torch.zeros(3).double()] * n
    for round, moment in enumerate(moments(x), start=1):
        cohort, sent = HALF.cohort(1, round, n), []
        for c in cohort:
            y = w
            for _ in range(LOCAL.steps):
                y = y - LR * (q.gradient(c, y) + ALPHA * duals[c] + ALPHA * (y - w))
            duals[c] = duals[c] + y - w
            sent.append(y + duals[c])
        w = sum(sent) / len(sent)
        assert distance(moment.w, w) < 1e-12


@pytest.mark.slow
def test_with_all_clients_both_servers_are_equal_and_with_half_only_all_duals_converge():
    q = Quadratics(d=2)

    def last(participation, duals):
        algorithm = FedSpeed(alpha=2.0, rho=0.0, duals=duals)
        return weights_by_round(q.experiment(algorithm, LOCAL, 100, participation))[-1]

    optimum = q.optimum(q.share("samples"))
    assert distance(last(Participation(), "cohort"), last(Participation(), "all")) < 1e-10
    assert distance(last(HALF, "all"), optimum) < 1e-10
    assert distance(last(HALF, "cohort"), optimum) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["samples", "uniform"])
@pytest.mark.parametrize(("participation", "rounds"), [(Participation(), 80), (HALF, 100)])
def test_reaches_where_the_perturbed_gradients_vanish_in_the_mean(objective, participation, rounds):
    """g + rho A g is linear on a quadratic, so that point has a closed form."""
    q = Quadratics(d=2)
    algorithm = FedSpeed(alpha=2.0, rho=0.1, normalise=False)
    last = weights_by_round(
        q.experiment(algorithm, LOCAL, rounds, participation, objective=objective)
    )[-1]
    sharpened = q.A + 0.1 * q.A @ q.A
    p = q.share(objective)
    left, right = (
        torch.einsum("c,cij->ij", p, sharpened),
        torch.einsum("c,cij,cj->i", p, sharpened, q.b),
    )
    assert distance(last, torch.linalg.solve(left, right)) < 1e-10
