import pytest
import torch
from quadratics import Quadratics, weights_by_round

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedopt import Sgd
from mpifl.training.local import Local
from mpifl.training.sampling import Participation, weights

LR = 0.2


def contraction(A, steps, lr=LR):
    return torch.linalg.matrix_power(torch.eye(len(A), dtype=A.dtype) - lr * A, steps)


@pytest.mark.parametrize("objective", ["samples", "uniform"])
@pytest.mark.parametrize("steps", [1, 7])
def test_every_round_matches_the_closed_form(steps, objective):
    q = Quadratics()
    x = q.experiment(FedAvg(), Local(steps=steps, batch=100, lr=LR), rounds=5, objective=objective)
    p, w = torch.from_numpy(weights(objective, q.sizes)), q.start
    for got in weights_by_round(x):
        w = sum(p[c] * (q.b[c] + contraction(q.A[c], steps) @ (w - q.b[c])) for c in range(4))
        assert (got - w).abs().max() < 1e-12


@pytest.mark.slow
def test_many_rounds_reach_the_biased_fixed_point():
    q, steps = Quadratics(), 5
    x = q.experiment(FedAvg(), Local(steps=steps, batch=100, lr=LR), rounds=200)
    p = torch.from_numpy(weights("samples", q.sizes))
    Q = torch.stack([torch.eye(3, dtype=torch.float64) - contraction(A, steps) for A in q.A])
    fixed = torch.linalg.solve(
        torch.einsum("c,cij->ij", p, Q), torch.einsum("c,cij,cj->i", p, Q, q.b)
    )
    got = weights_by_round(x)[-1]
    assert (got - fixed).abs().max() < 1e-12
    assert (got - q.optimum(p)).abs().max() > 1e-3


@pytest.mark.slow
def test_one_local_step_converges_to_the_weighted_optimum():
    q = Quadratics()
    x = q.experiment(FedAvg(), Local(steps=1, batch=100, lr=LR), rounds=300)
    assert (
        weights_by_round(x)[-1] - q.optimum(torch.from_numpy(weights("samples", q.sizes)))
    ).abs().max() < 1e-12


def test_weights_are_renormalised_over_the_cohort():
    q = Quadratics(clients=6)
    half = Participation(fraction=0.5)
    x = q.experiment(FedAvg(), Local(steps=3, batch=100, lr=LR), rounds=4, participation=half)
    w = q.start
    for round, got in enumerate(weights_by_round(x), start=1):
        cohort = half.cohort(1, round, 6)
        p = weights("samples", q.sizes[cohort])
        w = sum(
            p[i] * (q.b[c] + contraction(q.A[c], 3) @ (w - q.b[c])) for i, c in enumerate(cohort)
        )
        assert (got - w).abs().max() < 1e-12


def test_server_rate_scales_the_mean_step():
    q = Quadratics()
    local = Local(steps=3, batch=100, lr=LR)
    (whole,) = weights_by_round(q.experiment(FedAvg(), local, rounds=1))
    (half,) = weights_by_round(q.experiment(FedAvg(server_optimizer=Sgd(lr=0.5)), local, rounds=1))
    assert (half - (q.start + whole) / 2).abs().max() < 1e-13
