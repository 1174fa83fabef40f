"""SCAFFOLD against its paper's text, its invariant, and the optimum that it promises."""

import pytest
import torch
from quadratics import Quadratics, distance, mean, moments, weights_by_round

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.feddc import FedDC
from mpifl.algorithms.fedopt import Sgd
from mpifl.algorithms.scaffold import Scaffold
from mpifl.options import options
from mpifl.schedules import Milestones
from mpifl.training.local import Local, Trained
from mpifl.training.sampling import Participation

LR, STEPS = 0.2, 3
LOCAL = Local(steps=STEPS, batch=100, lr=LR)
HALF = Participation(fraction=0.5)
MOMENTUM = {"plain": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}


@options
class ByStepCount(Scaffold):
    """SCAFFOLD as it would be with the number of steps in its denominator."""

    def client(self, sent, own, train):
        def counted(w, **terms):
            trained = train(w, **terms)
            return trained._replace(accumulated=float(trained.steps))

        return super().client(sent, own, counted)


def test_every_round_is_the_papers_algorithm_with_option_two():
    q, n, rounds = Quadratics(), 4, 6
    x = q.experiment(Scaffold(), LOCAL, rounds, HALF, objective="uniform")
    w, c, c_i = q.start, torch.zeros(3).double(), [torch.zeros(3).double()] * n
    for round, moment in enumerate(moments(x), start=1):
        cohort, y, delta = HALF.cohort(1, round, n), {}, {}
        for i in cohort:
            y[i] = w
            for _ in range(STEPS):
                y[i] = y[i] - LR * (q.gradient(i, y[i]) - c_i[i] + c)
            renewed = c_i[i] - c + (w - y[i]) / (STEPS * LR)
            delta[i], c_i[i] = renewed - c_i[i], renewed
        w = w + sum(y[i] - w for i in cohort) / len(cohort)
        c = c + sum(delta.values()) / n
        assert distance(moment.w, w) < 1e-12
        assert distance(moment.server["c"], c) < 1e-12
        assert all(distance(moment.clients[i]["c"], c_i[i]) < 1e-12 for i in range(n))


@pytest.mark.parametrize("objective", ["samples", "uniform"])
@pytest.mark.parametrize(
    "participation", [Participation(), HALF, Participation(kind="bernoulli", fraction=0.5)]
)
def test_the_servers_control_is_the_mean_of_the_clients_after_every_round(objective, participation):
    q = Quadratics()
    for moment in moments(q.experiment(Scaffold(), LOCAL, 20, participation, objective=objective)):
        assert distance(moment.server["c"], mean(q.share(objective), moment.clients, "c")) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["samples", "uniform"])
@pytest.mark.parametrize(("participation", "rounds"), [(Participation(), 110), (HALF, 160)])
def test_reaches_the_optimum_of_the_objective_where_fedavg_does_not(
    objective, participation, rounds
):
    q = Quadratics()
    optimum = q.optimum(q.share(objective))
    last = moments(q.experiment(Scaffold(), LOCAL, rounds, participation, objective=objective))[-1]
    assert distance(last.w, optimum) < 1e-10
    assert all(distance(last.clients[c]["c"], q.gradient(c, optimum)) < 1e-9 for c in range(4))
    fedavg = weights_by_round(q.experiment(FedAvg(), LOCAL, 60, objective=objective))[-1]
    assert distance(fedavg, optimum) > 1e-3


@pytest.mark.parametrize("objective", ["samples", "uniform"])
def test_one_step_of_everybody_is_fedavg(objective):
    q, local = Quadratics(), Local(steps=1, batch=100, lr=LR)
    ours, fedavg = (
        weights_by_round(q.experiment(algorithm, local, 8, objective=objective))
        for algorithm in (Scaffold(), FedAvg())
    )
    assert max(map(distance, ours, fedavg)) < 1e-12


def test_a_single_client_trains_as_if_alone():
    q = Quadratics(clients=1)
    ours, alone = (
        weights_by_round(q.experiment(algorithm, LOCAL, 8)) for algorithm in (Scaffold(), FedAvg())
    )
    assert max(map(distance, ours, alone)) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("kind", MOMENTUM)
def test_with_local_momentum_the_weights_of_the_steps_stand_in_for_their_number(kind):
    q, local = Quadratics(), Local(steps=6, batch=100, lr=0.05, **MOMENTUM[kind])
    optimum = q.optimum(q.share("uniform"))
    last = moments(q.experiment(Scaffold(), local, 60, objective="uniform"))[-1]
    assert distance(last.w, optimum) < 1e-10
    assert all(distance(last.clients[c]["c"], q.gradient(c, optimum)) < 1e-9 for c in range(4))
    counted = weights_by_round(q.experiment(ByStepCount(), local, 20, objective="uniform"))
    assert distance(counted[-1], optimum) > 10


@options
class ByTheWholeWay(Scaffold):
    """SCAFFOLD as it would be with the momentum of earlier rounds left in w - y."""

    def client(self, sent, own, train):
        return super().client(
            sent, own, lambda w, **terms: train(w, **terms)._replace(carried=None)
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", MOMENTUM)
@pytest.mark.parametrize("participation", [Participation(), HALF])
def test_momentum_of_earlier_rounds_is_no_gradient_of_this_one(kind, participation):
    q, local = (
        Quadratics(d=2),
        Local(steps=5, batch=100, lr=0.02, momentum_state="persist", **MOMENTUM[kind]),
    )
    optimum = q.optimum(q.share("samples"))
    last = moments(q.experiment(Scaffold(), local, 200, participation))[-1]
    assert distance(last.w, optimum) < 1e-10
    assert all(distance(last.clients[c]["c"], q.gradient(c, optimum)) < 1e-9 for c in range(4))
    if kind == "plain":
        left_in = weights_by_round(q.experiment(ByTheWholeWay(), local, 200, participation))
        assert distance(left_in[-1], optimum) > 1e-3


@pytest.mark.parametrize("algorithm", [Scaffold(), FedDC(alpha=0.1)])
def test_a_round_at_no_rate_teaches_the_controls_nothing(algorithm):
    """The last round's rate is 0 but for rounding."""
    schedule = Milestones(at=(0.8,), factor=1e-320)
    q, local = Quadratics(), Local(steps=3, batch=100, lr=LR, schedule=schedule)
    *_, before, last = moments(q.experiment(algorithm, local, 5))
    assert last.w.isfinite().all()
    assert torch.equal(last.server["c"], before.server["c"])
    assert all(
        torch.equal(a["c"], b["c"]) for a, b in zip(before.clients, last.clients, strict=True)
    )


@pytest.mark.slow
def test_a_server_optimizer_of_its_own_changes_the_way_and_not_the_goal():
    q = Quadratics()
    x = q.experiment(
        Scaffold(server_optimizer=Sgd(lr=0.7, momentum=0.3)), LOCAL, 110, objective="uniform"
    )
    assert distance(weights_by_round(x)[-1], q.optimum(q.share("uniform"))) < 1e-10


@pytest.mark.parametrize("algorithm", [Scaffold(), FedDC(alpha=0.01)])
@pytest.mark.parametrize("lr", [5e-62, 1e-39])
def test_at_a_rate_that_is_zero_in_float32_the_controls_stay(algorithm, lr):
    w = torch.ones(3)
    c = torch.tensor([1.0, 2.0, 3.0])
    own = {**algorithm.init_client(w), "c": 2 * c}
    unmoved = Trained(y=w, steps=3, accumulated=3.0, lr=lr, momentum=None, loss=1.0, accuracy=0.5)
    reply, state = algorithm.client({"w": w, "c": c}, own, lambda *_, **terms: unmoved)
    assert torch.equal(state["c"], own["c"])
    assert torch.equal(reply["c"], torch.zeros(3))
