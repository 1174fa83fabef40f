"""MOON: its value and range, what is frozen, and which model is a client's previous one."""

import math
from dataclasses import replace

import pytest
import tiny
import torch
from torch.nn import functional

from mpifl.losses.moon import Moon
from mpifl.parallel.communicator import Communicator
from mpifl.training.callback import Callback
from mpifl.training.rounds import run

MU, TAU = 0.7, 0.5


def build(**options):
    return tiny.net("resnet20", norm="batch", projection=8, **options)


def other(net, seed):
    """Other weights and buffers for the same net."""
    random = torch.Generator().manual_seed(seed)
    w = net.weights + 0.1 * torch.randn(len(net.weights), generator=random, dtype=torch.float64)
    return w, net.buffers + torch.rand(len(net.buffers), generator=random, dtype=torch.float64)


def projected(net, model, x):
    """What a net with the weights and buffers of `model` makes of x in evaluation."""
    fresh = build()
    fresh.load(*model)
    fresh.module.eval()
    with torch.no_grad():
        return fresh(x).features


def test_it_is_the_papers_contrast_of_two_frozen_models_in_evaluation_mode():
    net = build()
    sent, previous = other(net, 1), other(net, 2)
    step = tiny.step(net, sent=sent, previous=previous)
    got = tiny.taken(net, Moon(mu=MU, tau=TAU), step)
    z = tiny.step(net).out.features
    near, far = (
        functional.cosine_similarity(z, projected(net, m, step.x)) / TAU for m in (sent, previous)
    )
    expected = MU * -(near.exp() / (near.exp() + far.exp())).log().mean()
    torch.testing.assert_close(got.value, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(got.gradient, net.take_gradient(expected), rtol=1e-9, atol=1e-13)
    assert got.gradient.any()
    assert 0 < got.value <= MU * math.log(1 + math.exp(2 / TAU))


def test_beside_stochastic_depth_the_frozen_models_have_their_branches_scaled():
    net, loss = build(), tiny.loss("stochdepth(ce, keep=0.3) + moon")
    sent, previous = other(net, 1), other(net, 2)
    step = tiny.step(net, sent=sent, previous=previous).derived(frozen=loss.evaluated(net.module))
    gates = []
    for name, model in (("sent", sent), ("previous", previous)):
        twin = net.twin(name, model).module
        twin.register_forward_pre_hook(
            lambda module, x, options: gates.append(options["gates"]), with_kwargs=True
        )
    loss(step)
    assert gates == [loss.evaluated(net.module)["gates"]] * 2
    assert gates[0][0] == 1 > gates[0][-1] == pytest.approx(0.3)


def test_where_the_previous_model_is_the_sent_one_it_is_a_constant():
    net = build()
    model = other(net, 1)
    got = tiny.taken(
        net, Moon(mu=MU), tiny.step(net, sent=model, previous=(model[0].clone(), model[1].clone()))
    )
    assert got.value.item() == pytest.approx(MU * math.log(2), rel=1e-14)
    assert got.gradient.abs().max() < 1e-15


def test_in_a_clients_first_round_it_is_that_constant_without_a_pass():
    step = tiny.step(build())
    assert Moon(mu=MU)(step).item() == pytest.approx(MU * math.log(2), rel=1e-14)
    assert step.passes == []


def test_by_default_it_moves_away_from_the_initial_model_in_a_clients_first_round():
    net = build()
    sent, initial = other(net, 1), other(net, 2)
    first = tiny.step(net, sent=sent, initial=initial)
    later = tiny.step(net, sent=sent, previous=initial)
    got, expected = (tiny.taken(net, Moon(mu=MU), step) for step in (first, later))
    assert torch.equal(got.value, expected.value)
    assert torch.equal(got.gradient, expected.gradient)
    assert got.gradient.any()
    none = tiny.step(net, sent=sent, initial=initial)
    assert Moon(mu=MU, first="none")(none).item() == pytest.approx(MU * math.log(2), rel=1e-14)
    assert none.passes == []


def test_in_round_1_where_all_have_the_initial_model_no_pass_is_made():
    net = build()
    step = tiny.step(net, initial=other(net, 2))
    step.context = replace(step.context, round=1)
    assert Moon(mu=MU)(step).item() == pytest.approx(MU * math.log(2), rel=1e-14)
    assert step.passes == []


def test_cosines_give_the_value_of_an_independent_program(monkeypatch):
    net = build()

    def similarity(self, step, frozen):
        return torch.tensor([0.2 if frozen is net.twin("previous", before) else 0.8])

    before = other(net, 1)
    monkeypatch.setattr(Moon, "_similarity", similarity)
    value = Moon()(tiny.step(net, previous=before))
    assert value.item() == pytest.approx(0.26328247, abs=5e-8)


def test_the_frozen_models_get_no_gradient_and_stay_in_evaluation():
    net = build()
    sent, previous = other(net, 1), other(net, 2)
    for number in range(2):
        step = tiny.step(net, number=number, sent=sent, previous=previous)
        net.take_gradient(step.out.logits.square().sum() + Moon()(step))
        net.weights.add_(net.gradient, alpha=-0.1)
    for name, model in (("sent", sent), ("previous", previous)):
        twin = net.twin(name, getattr(step.context, name))
        assert not twin.module.training
        assert not any(parameter.requires_grad for parameter in twin.module.parameters())
        assert not twin.gradient.any()
        assert torch.equal(twin.weights, model[0])
        assert torch.equal(twin.buffers, model[1])


def test_the_next_clients_step_contrasts_its_own_models():
    shared, x = build(), tiny.batch()
    for seed in (1, 3):
        known = {"images": x, "sent": other(shared, seed), "previous": other(shared, seed + 1)}
        assert torch.equal(Moon()(tiny.step(shared, **known)), Moon()(tiny.step(build(), **known)))


class Listening:
    """A loss that notes each client's previous model at the first step of its round."""

    def __init__(self, loss):
        self.loss, self.heard = loss, []
        self.needs, self.pull, self.evaluated = loss.needs, loss.pull, loss.evaluated

    def __call__(self, step):
        if step.number == 0:
            c = step.context
            # its place is used again
            previous = c.previous and tuple(vector.clone() for vector in c.previous)
            initial = c.initial and tuple(vector.clone() for vector in c.initial)
            self.heard.append((c.client, c.round, c.sent, previous, initial))
        return self.loss(step)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["fedavg", "feddyn"])
def test_a_clients_previous_model_is_its_own_last_one_however_long_it_stayed_away(algorithm):
    raw = {
        "rounds": 6,
        "clients": 4,
        "participation": {"fraction": 0.5},
        "model": {"name": "resnet20", "norm": "batch", "projection": 4},
        "algorithm": {"name": algorithm},
        "local": {"loss": "ce + moon"},
        "results": {"clients_every": 1},
    }
    x = tiny.experiment(raw)
    x.clients.loss = Listening(x.clients.loss)
    trained = []

    class Models(Callback):
        def round_finished(self, progress, last):
            trained.append(dict(zip(progress.cohort.tolist(), progress.models, strict=True)))

    start = x.clients.net.weights.clone(), x.clients.net.buffers.clone()
    run(x, Communicator(), [Models()])
    away = set()
    late_starts = 0
    for client, round, sent, previous, initial in x.clients.loss.heard:
        rounds = [r for r in range(1, round) if client in trained[r - 1]]
        if not rounds:
            assert previous is None
            assert torch.equal(initial[0], start[0])
            assert torch.equal(initial[1], start[1])
            late_starts += round > 1
            continue
        assert initial is None
        away.add(round - rounds[-1])
        w, buffers = trained[rounds[-1] - 1][client]
        assert torch.equal(previous[0], w)
        assert torch.equal(previous[1], buffers)
        assert not torch.equal(previous[0], sent[0])
    assert max(away) > 1  # somebody did stay away
    assert late_starts > 0


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_the_models_of_first_rounds_change_runs_with_a_part_of_the_clients_only(fraction):
    runs = []
    for text in ("ce + moon", "ce + moon(first='none')"):
        raw = {
            "rounds": 3,
            "clients": 4,
            "participation": {"fraction": fraction},
            "model": {"name": "lenet", "projection": 4},
            "data": {"options": {"shape": [3, 12, 12]}},
            "local": {"loss": text},
        }
        runs.append(tiny.digests(raw))
    assert (runs[0] == runs[1]) == (fraction == 1.0)
