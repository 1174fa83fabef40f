"""MOON: its value and range, what is frozen, and which model is a client's previous one."""

import math

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
            self.heard.append((c.client, c.round, c.sent, previous))
        return self.loss(step)


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

    run(x, Communicator(), [Models()])
    away = set()
    for client, round, sent, previous in x.clients.loss.heard:
        rounds = [r for r in range(1, round) if client in trained[r - 1]]
        if not rounds:
            assert previous is None
            continue
        away.add(round - rounds[-1])
        w, buffers = trained[rounds[-1] - 1][client]
        assert torch.equal(previous[0], w)
        assert torch.equal(previous[1], buffers)
        assert not torch.equal(previous[0], sent[0])
    assert max(away) > 1  # somebody did stay away
