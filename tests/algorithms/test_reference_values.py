"""Every rule on one problem: two clients in two dimensions, four rounds, part of the clients.

f_c(y) = (y - b_c)' A_c (y - b_c) / 2, three exact steps a round. The expected weights after round 4
were computed by independent programs, for some rules by the authors' own code.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from quadratics import moments
from two_quadratics import LOCAL, Problem, problem

from mpifl.algorithms.fedacg import FedAcg
from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedcm import FedCM
from mpifl.algorithms.feddc import FedDC
from mpifl.algorithms.feddyn import FedDyn
from mpifl.algorithms.fedexp import FedExP
from mpifl.algorithms.fedgloss import FedGloss
from mpifl.algorithms.fedgmt import FedGmt
from mpifl.algorithms.fedlesam import FedLesam
from mpifl.algorithms.fedmoswa import FedMoSwa
from mpifl.algorithms.fedsmoo import FedSmoo
from mpifl.algorithms.fedspeed import FedSpeed
from mpifl.algorithms.fedswa import FedSwa
from mpifl.algorithms.scaffold import Scaffold
from mpifl.schedules import Exponential
from mpifl.training.algorithm import ServerRound
from mpifl.training.gradients import Sam

SAM = replace(LOCAL, gradient=Sam(rho=0.1))


def cases():
    yield "fedavg", FedAvg(), LOCAL, (-0.20662899, 0.52599532)
    yield "scaffold", Scaffold(), LOCAL, (-0.07479962, 0.36983788)
    yield "feddyn", FedDyn(alpha=0.1), LOCAL, (-1.02014092, 1.37790751)
    yield "fedspeed", FedSpeed(alpha=0.1, rho=0.1), LOCAL, (-1.01790982, 1.34621883)
    yield "fedcm", FedCM(), LOCAL, (0.54942943, -0.27745406)
    yield "mofedsam", FedCM(), SAM, (0.53193228, -0.23220017)
    yield "fedcm, decay", FedCM(), replace(LOCAL, weight_decay=0.1), (0.34470983, -0.09670405)
    yield "fedgamma", Scaffold(), SAM, (-0.09308650, 0.37598177)
    yield "fedsmoo", FedSmoo(), LOCAL, (-0.99787784, 1.31074868)
    yield "fedlesam", FedLesam(), LOCAL, (-0.22801242, 0.58803562)
    yield "fedlesam, own", FedLesam(last="own"), LOCAL, (-0.25100722, 0.59365763)
    decay = replace(LOCAL, weight_decay=0.1)
    yield "fedlesam, decay", FedLesam(), decay, (-0.23679397, 0.57508224)
    yield "fedlesam-s", FedLesam(rule=Scaffold()), LOCAL, (-0.12445725, 0.45720757)
    code = FedLesam(rule=Scaffold(strength=0.1))
    yield "fedlesam-s, code", code, LOCAL, (-0.21200500, 0.57311032)
    dyn = FedDyn(alpha=0.1)
    yield "fedlesam-d", FedLesam(rule=dyn), LOCAL, (-1.08975353, 1.48202419)
    yield "fedlesam-d, own", FedLesam(rule=dyn, last="own"), LOCAL, (-1.09653023, 1.48359283)
    yield "fedexp", FedExP(), LOCAL, (-1.26289451, 1.62090497)
    yield "fedacg", FedAcg(), LOCAL, (-0.73298293, 1.08013773)
    yield "fednsam, code", FedAcg(mu=0.0), replace(LOCAL, gradient=Sam(rho=0.05)), NSAM
    yield "fedswa, code", FedSwa(), replace(LOCAL, lr=0.2), (-0.33343485, 0.64552669)
    yield "fedswa", FedSwa(rho=0.1, alpha=1.5), LOCAL, (-0.28706183, 0.55724094)
    yield "fedmoswa", FedMoSwa(), LOCAL, (0.16010688, 0.12118655)
    yield "fedmoswa, code", FedMoSwa(first=True), LOCAL, (-0.11441606, 0.51533767)
    yield "fedmoswa, falling", FedMoSwa(rho=0.1), LOCAL, (0.31647788, -0.04013851)
    yield "fedgloss", FedGloss(rho=0.1), SAM, (-1.08735004, 1.41334012)
    yield "fedgloss, code", FedGloss(rho=0.1, duals="code"), SAM, (-0.96435168, 1.36415621)
    yield "fedgmt", FedGmt(beta=10), LOCAL, (-1.01914574, 1.36787760)
    stale = FedSpeed(alpha=0.1, rho=0.1, stale_ascent=True)
    unclipped = replace(LOCAL, clip=1e9, clip_pull=False)
    yield "fedspeed, stale", stale, unclipped, (-1.01286088, 1.33939147)
    clipped = replace(LOCAL, clip=1.0, clip_pull=False)
    yield "fedspeed, stale, clipped", stale, clipped, (-0.29335740, 1.16239578)
    yield "feddc", FedDC(alpha=0.1), LOCAL, (-0.76085554, 1.03562880)
    code = FedDC(alpha=0.1, controls="code")
    yield "feddc, code", code, LOCAL, (-0.76253846, 1.03838060)
    halved = replace(LOCAL, schedule=Exponential(decay=0.5))
    yield "feddc, halved", FedDC(alpha=0.1), halved, (-1.37549251, 1.96421070)
    yield "feddc, code, halved", code, halved, (-1.35361510, 1.99800742)
    carried = replace(LOCAL, momentum=0.9, momentum_state="persist")
    yield "feddyn, carried", FedDyn(alpha=0.1), carried, (0.49912779, -0.48901796)
    yield "feddc, carried", FedDC(alpha=0.1), carried, (0.59823436, -0.20720586)


NSAM = (-0.74721122, 1.06066816)
CASES = {name: case for name, *case in cases()}


@pytest.mark.parametrize("name", CASES)
def test_weights_after_four_rounds_are_those_of_an_independent_program(name):
    algorithm, local, expected = CASES[name]
    w = problem(algorithm, local)[-1].w
    np.testing.assert_allclose(w.numpy(), expected, rtol=0, atol=2e-8)


def test_fedsmoo_multipliers_after_four_rounds_are_those_of_an_independent_program():
    end = problem(FedSmoo())[-1]
    np.testing.assert_allclose(end.server["s"], (-0.07569066, 0.06535230), atol=2e-8)
    np.testing.assert_allclose(end.clients[0]["mu"], (-0.66416438, 0.67059419), atol=2e-8)
    np.testing.assert_allclose(end.clients[1]["mu"], (0.18933354, -0.26061909), atol=2e-8)


def test_fedexp_averages_its_last_two_models():
    history = problem(FedExP())
    average = FedExP().average(history[-1].w, history[-1].server)
    np.testing.assert_allclose(average, (-0.71051977, 1.04832126), atol=2e-8)
    assert torch.equal(history[0].server["last"], history[0].w)


def test_fedexp_takes_the_plain_step_for_one_client_and_a_long_one_where_clients_cancel():
    after = [moment.w for moment in problem(FedExP())]
    for ours, plain in zip(after[:3], problem(FedAvg())[:3], strict=True):
        assert torch.equal(ours, plain.w)
    of = Problem()
    w = after[2]
    changes = (of.b - w) * (1 - (1 - 0.1 * of.A.diagonal(dim1=1, dim2=2)) ** 3)
    step = (after[3] - w) / changes.mean(0)
    np.testing.assert_allclose(step, 22.78587404, rtol=1e-8)


OPTIMUM = torch.tensor([-1 / 3, 1 / 2], dtype=torch.float64)


def away(w) -> float:
    """How far weights are from the optimum of the objective."""
    return float((w - OPTIMUM).norm())


@pytest.mark.parametrize(
    "alpha, expected", [(1.0, 0.0965), (0.5, 0.0459), (0.1, 0.00881), (0.02, 0.00175)]
)
def test_the_fixed_point_of_fedcm_is_as_far_off_as_that_of_an_independent_program(alpha, expected):
    """A round is linear in w and v: six rounds say where it does not move."""
    x = Problem().experiment(FedCM(alpha=alpha), LOCAL, 7, objective="uniform")
    states = torch.stack([torch.cat([m.w, m.server["gradient"]]) for m in moments(x)])
    before, after = states[:-1], states[1:]
    if alpha == 1:  # v does not count then
        before, after = before[:, :2], after[:, :2]
    ones = torch.ones(len(before), 1, dtype=torch.float64)
    solved = torch.linalg.lstsq(torch.cat([before, ones], dim=1), after).solution
    matrix, constant = solved[:-1].T, solved[-1]
    fixed = torch.linalg.solve(torch.eye(len(matrix), dtype=torch.float64) - matrix, constant)
    assert away(fixed[:2]) == pytest.approx(expected, rel=6e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "algorithm",
    [FedMoSwa(), FedMoSwa(rho=0.1), FedMoSwa(first=True), FedGmt(beta=1.0)],
    ids=["fedmoswa", "fedmoswa, falling", "fedmoswa, code", "fedgmt"],
)
def test_with_all_clients_the_limit_is_the_optimum(algorithm):
    x = Problem().experiment(algorithm, LOCAL, 60, objective="uniform")
    assert away(moments(x)[-1].w) < 1e-5


@pytest.mark.slow
def test_the_limit_of_fedsmoo_is_as_far_off_as_that_of_an_independent_program():
    x = Problem().experiment(FedSmoo(), LOCAL, 300, objective="uniform")
    assert away(moments(x)[-1].w) == pytest.approx(0.00803, rel=0.01)


def test_fedmoswa_that_goes_all_the_way_is_scaffold_if_all_clients_take_part():
    a, b = (
        moments(Problem().experiment(algorithm, LOCAL, 6, objective="uniform"))[-1].w
        for algorithm in (FedMoSwa(gamma=1.0), Scaffold())
    )
    torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize(
    "algorithm, distance",
    [
        (FedDyn(alpha=0.1), 2.2e-2),
        (FedDyn(alpha=1.0), 3.3e-9),
        (FedDC(alpha=0.1), 7.3e-5),
        (FedDC(alpha=1.0), 4.4e-9),
    ],
    ids=["feddyn-0.1", "feddyn-1", "feddc-0.1", "feddc-1"],
)
def test_with_momentum_of_earlier_rounds_duals_converge_as_fast_as_in_an_independent_program(
    algorithm, distance
):
    local = replace(LOCAL, momentum=0.9, momentum_state="persist")
    x = Problem().experiment(algorithm, local, 60, objective="uniform")
    assert away(moments(x)[-1].w) == pytest.approx(distance, rel=0.1)


@pytest.mark.parametrize("algorithm", [FedExP(), FedMoSwa(first=True)])
def test_what_is_special_in_the_first_round_waits_for_a_round_with_clients(algorithm):
    w = torch.tensor([1.0, 2.0])
    mean = {"w": w + 1, "c": w + 2, "squares": torch.ones(1)}
    server = algorithm.init_server(w)
    late = ServerRound(round=3, rounds=9, lr=0.1, first_lr=0.1, replies=1, share=1.0)
    after, server = algorithm.server(w, server, mean, late)
    if isinstance(algorithm, FedExP):
        assert torch.equal(algorithm.average(after, server), after)
    else:
        assert torch.equal(server["c"], mean["c"])
