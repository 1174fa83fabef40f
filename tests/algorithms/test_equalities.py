"""Algorithms that equal others for some of their options: to the bit, with momentum and half of the
clients at a time.
"""

import pytest
import torch
from quadratics import Quadratics, moments

from mpifl.algorithms import ALGORITHMS
from mpifl.algorithms.fedacg import FedAcg
from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedcm import FedCM
from mpifl.algorithms.feddc import FedDC
from mpifl.algorithms.feddyn import FedDyn
from mpifl.algorithms.fedexp import FedExP
from mpifl.algorithms.fedgloss import FedGloss
from mpifl.algorithms.fedgmt import FedGmt
from mpifl.algorithms.fedlesam import FedLesam
from mpifl.algorithms.fedopt import Adagrad, Adam, Sgd, Yogi
from mpifl.algorithms.fedprox import FedProx
from mpifl.algorithms.fedsmoo import FedSmoo
from mpifl.algorithms.fedspeed import FedSpeed
from mpifl.algorithms.fedswa import FedSwa
from mpifl.algorithms.scaffold import Scaffold
from mpifl.training.algorithm import ServerRound
from mpifl.training.client import Task, play
from mpifl.training.client_states import ClientState
from mpifl.training.local import Local
from mpifl.training.messages import Sent
from mpifl.training.sampling import Participation

EQUAL = {
    "fedprox without its term": (FedProx(mu=0.0), FedAvg()),
    "feddyn without its strength": (FedDyn(alpha=0.0), FedAvg()),
    "feddc without strength and controls": (FedDC(alpha=0.0, control=False), FedAvg()),
    "feddc without controls": (FedDC(alpha=0.3, control=False), FedDyn(alpha=0.3)),
    "feddc without strength": (FedDC(alpha=0.0), Scaffold()),
    "fedspeed without strength and radius": (FedSpeed(alpha=0.0, rho=0.0), FedAvg()),
    "fedspeed as printed, without strength and radius": (
        FedSpeed(alpha=0.0, rho=0.0, duals="cohort"),
        FedAvg(),
    ),
    "fedspeed without radius": (FedSpeed(alpha=0.3, rho=0.0), FedDyn(alpha=0.3)),
    "fedspeed without its second gradient": (FedSpeed(alpha=0.3, mix=0.0), FedDyn(alpha=0.3)),
    "fedcm with the client's gradient alone": (FedCM(alpha=1.0), FedAvg()),
    **{
        f"fedcm with the client's gradient alone, {type(step).__name__} on the server": (
            FedCM(alpha=1.0, server_optimizer=step),
            FedAvg(server_optimizer=step),
        )
        for step in (Adagrad(), Adam(), Yogi(), Sgd(momentum=0.5))
    },
    "fedexp with its step at most 1": (FedExP(cap=1.0), FedAvg()),
    "fedacg without momentum": (FedAcg(lam=0.0, mu=0.1), FedProx(mu=0.1)),
    "fedsmoo without radius": (FedSmoo(alpha=0.3, rho=0.0), FedDyn(alpha=0.3)),
    "fedlesam without radius": (FedLesam(rho=0.0), FedAvg()),
    "fedlesam of scaffold without radius": (FedLesam(rho=0.0, rule=Scaffold()), Scaffold()),
    "fedlesam of feddyn without radius": (
        FedLesam(rho=0.0, rule=FedDyn(alpha=0.3)),
        FedDyn(alpha=0.3),
    ),
    "fedlesam of feddyn, own models, without radius": (
        FedLesam(rho=0.0, rule=FedDyn(alpha=0.3), last="own"),
        FedDyn(alpha=0.3),
    ),
    "fedswa with one rate and the whole step": (FedSwa(rho=1.0), FedAvg()),
    "fedgloss without radius": (FedGloss(rho=0.0, beta=4.0), FedDyn(alpha=0.25)),
    "fedgmt without its loss": (FedGmt(beta=4.0), FedDyn(alpha=0.25, quadratic=False)),
    "fedspeed with the gradient that was left, without radius": (
        FedSpeed(alpha=0.3, rho=0.0, stale_ascent=True),
        FedDyn(alpha=0.3),
    ),
    "scaffold with its whole correction": (Scaffold(strength=1.0), Scaffold()),
    "fedavg with the plain server step": (
        FedAvg(server_optimizer=Sgd(lr=1.0, momentum=0.0)),
        FedAvg(),
    ),
}


@pytest.mark.parametrize("case", EQUAL)
@pytest.mark.parametrize("objective", ["samples", "uniform"])
def test_neutral_options_give_the_simpler_algorithm_bit_for_bit(case, objective):
    local, half = Local(steps=3, batch=100, lr=0.05, momentum=0.9), Participation(fraction=0.5)
    a, b = (
        moments(Quadratics().experiment(algorithm, local, 5, half, objective=objective))
        for algorithm in EQUAL[case]
    )
    assert all(torch.equal(one.w, other.w) for one, other in zip(a, b, strict=True))
    assert not torch.equal(a[-1].w, a[-2].w)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_changes_no_tensor_that_it_is_given(name):
    q, algorithm = Quadratics(), ALGORITHMS[name]()
    x = q.experiment(algorithm, Local(steps=2, batch=100, lr=0.1), 3)
    w = q.start.clone()
    server, own = algorithm.init_server(w), algorithm.init_client(w)
    for round in (1, 2):  # in the second one states are not zero
        sent = algorithm.send(w, server)
        given = [vector for state in (sent, own, server) for vector in state.values()]
        before = [vector.clone() for vector in given]
        played = play(x.clients, Task(0, round, Sent(sent, torch.zeros(0)), ClientState(own)))
        reply, own = played.reply.algorithm, played.state.algorithm
        replies = [vector.clone() for vector in reply.values()]
        w, server = algorithm.server(w, server, reply, ServerRound(round, 3, 0.1, 0.1, 1, 0.25))
        assert all(map(torch.equal, given, before))
        assert all(map(torch.equal, reply.values(), replies))
        live = x.clients.net.weights.untyped_storage().data_ptr()
        new = (*reply.values(), *own.values())
        assert all(vector.untyped_storage().data_ptr() != live for vector in new)
