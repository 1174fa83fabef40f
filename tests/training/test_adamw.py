"""AdamW as the optimiser of local steps: worked numbers, torch's own, and what it goes with."""

import pytest
import torch
from torch import nn

from mpifl.algorithms.fedavg import FedAvg
from mpifl.options import BadInput
from mpifl.training.client_states import ClientState
from mpifl.training.local import Local
from mpifl.training.optimizers import AdamW
from tests import tiny
from tests.quadratics import Quadratics, weights_by_round
from tests.tiny import digests
from tests.training.test_local import batches, make, trained

ADAMW = {"optimizer": AdamW(), "lr": 0.1, "weight_decay": 0.1}


def square() -> Quadratics:
    """One client whose gradient at y is 2y, from y = 1."""
    of = Quadratics(clients=1, d=1)
    of.A = torch.full((1, 1, 1), 2.0, dtype=torch.float64)
    of.b = torch.zeros(1, 1, dtype=torch.float64)
    of.start = torch.ones(1, dtype=torch.float64)
    return of


def after(rounds: int, steps: int, state: str = "reset") -> float:
    local = Local(steps=steps, batch=1, momentum_state=state, **ADAMW)
    return float(weights_by_round(square().experiment(FedAvg(), local, rounds))[-1])


@pytest.mark.parametrize(
    "rounds, steps, state, expected",
    [
        (1, 1, "reset", 0.89),
        (1, 3, "reset", 0.675101),
        (2, 3, "reset", 0.361255),
        (2, 3, "persist", 0.372446),
        (1, 6, "reset", 0.372446),
    ],
)
def test_steps_on_a_square_are_the_worked_numbers(rounds, steps, state, expected):
    assert after(rounds, steps, state) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_equals_torchs_adamw_on_the_same_batches_to_rounding(decay):
    some = batches(dtype=torch.float64)
    local = Local(lr=0.01, weight_decay=decay, optimizer=AdamW(beta1=0.8, beta2=0.99, eps=1e-6))
    ours = trained(make(dtype=torch.float64), some, local)
    module = make(dtype=torch.float64).module.train()
    options = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": decay}
    optimiser = torch.optim.AdamW(module.parameters(), **options)
    for x, y in some:
        optimiser.zero_grad(set_to_none=False)
        nn.functional.cross_entropy(module(x).logits, y).backward()
        optimiser.step()
    theirs = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    assert (ours.y - theirs).abs().max() < 1e-10
    assert int(ours.moments["t"]) == len(some)


def test_coordinates_that_do_not_move_stay_also_with_decay_and_kept_moments():
    net = make()
    w = net.weights.clone()
    kept = {"m": torch.ones_like(w), "v": torch.ones_like(w), "t": torch.tensor([5])}
    moving = torch.arange(len(w)) % 2 == 0
    ended = trained(net, batches(2), Local(**ADAMW), moments=kept, moving=moving)
    assert torch.equal(ended.y[~moving], w[~moving])
    assert (ended.y[moving] != w[moving]).all()


def test_a_clients_moments_survive_the_way_through_a_flat_dict():
    moments = AdamW().initial(torch.zeros(3))
    again = ClientState.from_flat(ClientState({}, moments=moments).flat())
    assert again.algorithm == {} and again.moments.keys() == {"m", "v", "t"}
    assert again.moments["t"].dtype == torch.int64


def adamw(**raw):
    return {"local": {"optimizer": "adamw", "lr": 0.01, "momentum": 0.0}, **raw}


def test_nothing_of_adamw_changes_a_run_with_sgd():
    assert digests({"local": {"optimizer": "sgd"}}) == digests({})
    assert digests(adamw()) != digests({"local": {"momentum": 0.0, "lr": 0.01}})


@pytest.mark.parametrize(
    "raw, message",
    [
        (adamw(algorithm="scaffold"), "local.optimizer: expected sgd, since Scaffold takes w - y"),
        (adamw(algorithm="fednova"), "local.optimizer: expected sgd, since FedNova takes w - y"),
        (adamw(algorithm="feddc"), "local.optimizer: expected sgd, since FedDC takes w - y"),
        (adamw(algorithm="fedcm"), "local.optimizer: expected sgd, since FedCM takes w - y"),
        (adamw(algorithm="fedmoswa"), "local.optimizer: expected sgd, since FedMoSwa takes w - y"),
        (
            adamw(algorithm={"name": "fedlesam", "rule": "scaffold"}),
            "local.optimizer: expected sgd, since FedLesam takes w - y",
        ),
        ({"local": {"optimizer": "adamw"}}, "local.momentum: expected 0 with adamw"),
    ],
)
def test_what_holds_for_sgd_only_is_refused_in_one_line(raw, message):
    with pytest.raises(BadInput, match=message):
        tiny.experiment(raw)


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox", "feddyn", "fedspeed"])
def test_other_algorithms_train_with_it_and_sam(algorithm):
    gradient = "plain" if algorithm == "fedspeed" else "sam"
    raw = adamw(algorithm=algorithm)
    raw["local"] |= {"gradient": gradient, "momentum_state": "persist", "clip": 1.0}
    assert len(digests(raw)) == 2
    assert tiny.experiment({**raw, "algorithm": {"name": "feddc", "control": False}})
