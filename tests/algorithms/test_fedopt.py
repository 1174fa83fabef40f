"""Server optimisers against Reddi et al.'s algorithm 2, by hand on a small vector."""

import pytest
import torch
from quadratics import Quadratics, distance, weights_by_round

from mpifl.algorithms import SERVER_OPTIMIZERS
from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedopt import Adagrad, Adam, Sgd, Yogi
from mpifl.training.local import Local

W = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
TARGETS = torch.tensor(
    [[0.5, 1.0, -2.001], [-1.0, 1.0, 3.0], [0.25, 0.999, 0.5]], dtype=torch.float64
)
LR, BETA1, BETA2, TAU = 0.3, 0.8, 0.9, 1e-2
SECOND = {
    "adagrad": lambda v, d: v + d * d,
    "adam": lambda v, d: BETA2 * v + (1 - BETA2) * d * d,
    "yogi": lambda v, d: v - (1 - BETA2) * d * d * ((v > d * d) - (v < d * d)),
}
STEPS = {
    "adagrad": Adagrad(lr=LR, beta1=BETA1, tau=TAU),
    "adam": Adam(lr=LR, beta1=BETA1, beta2=BETA2, tau=TAU),
    "yogi": Yogi(lr=LR, beta1=BETA1, beta2=BETA2, tau=TAU),
}


def path(step):
    w, state = W, step.init(W)
    for target in TARGETS:
        w, state = step(w, target, state)
    return w


@pytest.mark.parametrize("name", STEPS)
def test_an_adaptive_step_is_the_papers_number_by_number(name):
    expected = []
    for i in range(3):
        w, m, v = W[i].item(), 0.0, TAU**2
        for target in TARGETS[:, i].tolist():
            delta = target - w
            m = BETA1 * m + (1 - BETA1) * delta
            v = SECOND[name](v, delta)
            w = w + LR * m / (v**0.5 + TAU)
        expected.append(w)
    assert path(STEPS[name]).tolist() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    "start, expected",
    [
        ("zero", [(0.05, -0.00909091), (0.12881615, -0.02574199)]),
        ("tau2", [(0.04148218, -0.005), (0.11124797, -0.0145)]),
    ],
)
def test_adam_starts_as_the_paper_or_as_the_code_in_an_independent_program(start, expected):
    step = Adam(lr=0.1, tau=0.01, start=start)
    w = torch.zeros(2, dtype=torch.float64)
    change = torch.tensor([0.1, -0.01], dtype=torch.float64)
    state = step.init(w)
    for after in expected:
        w, state = step(w, w + change, state)
        assert w.tolist() == pytest.approx(after, abs=5e-9)


def test_the_first_step_of_fedlns_yogi_is_that_of_an_independent_program():
    step = Yogi(lr=0.01, tau=1e-3)
    w = torch.zeros(1, dtype=torch.float64)
    moved, _ = step(w, w + 0.1, step.init(w))
    assert moved.item() == pytest.approx(0.00904988, abs=5e-9)


def test_momentum_adds_up_the_ways_to_the_targets():
    w, m = W, torch.zeros(3).double()
    for target in TARGETS:
        m = 0.6 * m + (target - w)
        w = w + 0.5 * m
    assert distance(path(Sgd(lr=0.5, momentum=0.6)), w) < 1e-15


def test_the_plain_step_is_the_target_itself():
    assert torch.equal(path(Sgd()), TARGETS[-1])
    q, local = Quadratics(), Local(steps=3, batch=100, lr=0.2)
    plain = weights_by_round(q.experiment(FedAvg(), local, 4))
    named = weights_by_round(
        q.experiment(FedAvg(server_optimizer=Sgd(lr=1.0, momentum=0.0)), local, 4)
    )
    assert all(map(torch.equal, plain, named))


@pytest.mark.parametrize("name", SERVER_OPTIMIZERS)
def test_a_step_leaves_what_it_was_given_as_it_was_and_other_states_in_place(name):
    step = SERVER_OPTIMIZERS[name]()
    w, other = W.clone(), torch.ones(3)
    given = {"other": other, **step.init(w)}
    before = {key: vector.clone() for key, vector in given.items()}
    _, after = step(w, TARGETS[0], given)
    assert torch.equal(w, W)
    assert all(torch.equal(given[key], before[key]) for key in before)
    assert after["other"] is other
    assert after.keys() == given.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVER_OPTIMIZERS)
def test_a_run_with_each_server_optimizer_nears_the_optimum(name):
    q = Quadratics(d=2)
    optimum, step = (
        q.optimum(q.share("samples")),
        SERVER_OPTIMIZERS[name](lr=0.5 if name == "adagrad" else 0.1),
    )
    x = q.experiment(FedAvg(server_optimizer=step), Local(steps=1, batch=100, lr=0.2), 80)
    assert distance(weights_by_round(x)[-1], optimum) < 0.3 * distance(q.start, optimum)
