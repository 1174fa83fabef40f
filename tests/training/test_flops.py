"""FLOPs: counted steps are those of closed formulas, of torch's own counter and of the papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpifl.runner import build, schema
from mpifl.training import flops
from mpifl.training.clients import Clients, Work
from mpifl.training.flops import Counter, Flops
from tests import tiny

CIFAR = {"name": "synthetic", "options": {"shape": [3, 32, 32], "classes": 10, "train": 36}}
MLP = {"name": "mlp", "hidden": [16]}
INPUTS, HIDDEN, CLASSES = 3 * 8 * 8, 16, 4
LAYERS = INPUTS * HIDDEN + HIDDEN * CLASSES


def clients(**options) -> Clients:
    config = schema.resolve(schema.configs.merge(tiny.RUN, options))
    data = build.load_data(config.data, config.seed)
    return build.experiment(config, data, torch.device("cpu")).clients


def test_an_mlp_costs_its_matrices_forward_and_twice_backward_but_for_the_images_gradient():
    counted = flops.count(clients(model=MLP))
    assert counted.forward == 2 * LAYERS
    assert counted.sample == 2 * (3 * LAYERS - INPUTS * HIDDEN)
    assert (counted.once, counted.batch, counted.draws) == (0, 7, 1)
    assert counted.step == 7 * counted.sample


def test_a_convolution_costs_its_kernel_at_each_pixel():
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1)
    x = torch.zeros(2, 3, 8, 8, requires_grad=True)
    with Counter() as counter:
        convolution(x).sum().backward()
    assert counter.flops == 3 * 2 * (2 * 8 * 8) * 5 * (3 * 3 * 3)


@pytest.mark.slow  # torch's own imports its compiler
def test_the_counter_counts_as_torchs_own():
    from torch.utils.flop_counter import FlopCounterMode

    net = tiny.net("cnn", norm="group")
    x, _ = tiny.batch()
    with Counter() as ours:
        net(x).logits.sum().backward()
    with FlopCounterMode(display=False) as torchs:
        net(x).logits.sum().backward()
    assert ours.flops == torchs.get_total_flops() > 0


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, 1),
        ({"local": {"gradient": "sam"}}, 2),
        ({"local": {"gradient": {"name": "sam", "rho": 0.0}}}, 1),
        ({"algorithm": "fedspeed"}, 2),
        ({"algorithm": "fedlesam"}, 1),
        ({"algorithm": "fedsmoo"}, 2),
        ({"algorithm": "scaffold"}, 1),
        ({"algorithm": "fedrep"}, 1),
        ({"local": {"momentum": 0.0, "optimizer": "adamw"}}, 1),
    ],
    ids=str,
)
def test_each_pass_of_a_gradient_or_an_algorithm_counts(options, passes):
    assert flops.count(clients(model=MLP, **options)).sample == passes * 2 * (
        3 * LAYERS - INPUTS * HIDDEN
    )


def test_moon_adds_two_frozen_forward_passes_and_holds_two_copies():
    model = {"name": "tiny_cnn", "projection": 8}
    plain = flops.count(clients(model=model))
    moon = flops.count(clients(model=model, local={"loss": "ce + moon"}))
    assert moon.sample - plain.sample == 2 * plain.forward
    assert moon.held == 3 * plain.held


def test_what_a_client_holds_is_what_the_papers_count():
    model = clients(model=MLP)
    d = len(model.net.weights)
    held = {}
    for name in ("fedavg", "fedprox", "scaffold", "feddyn"):
        held[name] = flops.count(clients(model=MLP, algorithm=name)).held / d
    assert held == {"fedavg": 1, "fedprox": 2, "scaffold": 3, "feddyn": 3}
    assert flops.count(clients(model=MLP, local={"loss": "ce + prox"})).held == 2 * d


@pytest.mark.slow
def test_fedaligns_step_costs_a_few_percent_more_as_in_its_table_5():
    plain = flops.count(clients(data=CIFAR, model="resnet56"))
    align = flops.count(clients(data=CIFAR, model="resnet56", local={"loss": "ce + fedalign"}))
    # Table 5: 87.3 million multiply-adds a sample forward, 89.1 with FedAlign, 0.61 M parameters
    assert plain.forward / 2e6 == pytest.approx(87.3, abs=0.3)
    assert align.forward == plain.forward
    assert 1.0 < align.sample / plain.sample < 1.1
    assert align.held == plain.held


@pytest.mark.slow
def test_losses_that_draw_their_shapes_are_means_over_draws():
    of = {"model": {"name": "resnet20"}, "local": {"loss": "stochdepth(ce, keep=0.5)"}}
    counted = flops.count(clients(**of))
    assert counted.draws == flops.DRAWS
    plain = flops.count(clients(model="resnet20"))
    assert 0.5 * plain.sample < counted.sample < plain.sample
    assert flops.count(clients(**of)) == counted


@pytest.mark.slow
def test_what_is_recorded_to_be_replayed_is_not_counted():
    resnet = {"model": {"name": "resnet20"}, "local": {"loss": "ce + gradaug", "batch": 4}}
    counted = {flops.count(clients(**resnet, runtime={"graphs": kind})) for kind in ("yes", "no")}
    assert len(counted) == 1


def test_what_a_step_takes_whatever_its_batch_is_apart_from_what_each_sample_takes():
    # LoRA makes rank * inputs * outputs products a step, forward and twice backward
    counted = flops.count(clients(model={**MLP, "lora": {"rank": 2}}))
    assert counted.once > 0
    assert counted.step == counted.once + 7 * counted.sample


def test_counting_leaves_the_net_the_algorithm_and_the_random_numbers_alone():
    of = clients(model="cnn")
    weights = of.net.weights.clone()
    random = torch.random.get_rng_state()
    flops.count(of)
    assert torch.equal(of.net.weights, weights)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not of.net.twins and not of.net.gradient.any()


def test_a_round_counts_short_batches_by_their_samples():
    counted = Flops(forward=1, sample=3.0, once=5.0, batch=10, draws=1, held=1)
    # two epochs of 25 samples: 10, 10, 5; the other client stops after 2 of its 4 steps of 10
    work = Work(2, np.array([6, 4]), np.array([50.0, 40.0]))
    assert counted.of_round(work, np.array([0, 1]), np.array([6, 2])) == 5 * 8 + 3 * (50 + 20)
    assert counted._replace(once=0.0).of_round(work, np.array([1]), np.array([4])) == 3 * 40
