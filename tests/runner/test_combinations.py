"""Algorithms, losses, gradients and models that do not go together are refused in one line."""

import pytest

from mpifl.options import BadInput
from mpifl.runner.schema import resolve

REFUSED = {
    "a cnn has no stages": (
        {"model": "cnn", "local": {"loss": "ce + fedalign"}},
        "local.loss: 'ce + fedalign' needs a model with stages, width; got cnn; "
        "allowed: resnet18, resnet20, resnet56",
    ),
    "a cnn has no blocks": (
        {"model": "cnn", "local": {"loss": "ce + man(layers='blocks')"}},
        "needs a model with stages; got cnn; allowed: resnet18",
    ),
    "a resnet has no pooled convolutions": (
        {"model": "resnet20", "local": {"loss": "ce + man(pooled=true)"}},
        "needs a model with pooling; got resnet20; allowed: cnn, fedln_cnn, lenet, tiny_cnn",
    ),
    "a cnn has other layers than the released code for Tiny-ImageNet": (
        {"model": "cnn", "local": {"loss": "ce + man(tiny_paper_bug=true)"}},
        "needs a model with tiny_cnn's layers; got cnn; allowed: tiny_cnn",
    ),
    "a vit has no widths": (
        {"model": "vit", "local": {"loss": "mixup(ce + gradaug)"}},
        "needs a model with width; got vit; allowed: resnet18",
    ),
    "a mlp has no gates": (
        {"model": "mlp", "local": {"loss": "stochdepth(ce)"}},
        "needs a model with gates; got mlp; allowed: resnet18",
    ),
    "moon without a head": (
        {"model": "resnet20", "local": {"loss": "ce + moon"}},
        "model.projection: expected more than 0, such as 256, for 'ce + moon' needs a "
        "projection head; got 0",
    ),
    "moon on a model that has none": (
        {"model": "vit", "local": {"loss": "ce + moon"}},
        "needs a model with projection; got vit; allowed: cnn, fedln_cnn, lenet, pfl_cnn, resnet18",
    ),
    "fedspeed under sam": (
        {"algorithm": "fedspeed", "local": {"gradient": "sam"}},
        "local.gradient: expected plain, since FedSpeed brings its own gradient; got sam",
    ),
    "a strength below zero": (
        {"algorithm": {"name": "feddyn", "alpha": -0.1}},
        "algorithm.alpha: expected greater than or equal to 0; got -0.1",
    ),
    "a radius below zero": (
        {"local": {"gradient": {"name": "sam", "rho": -1.0}}},
        "local.gradient.rho: expected greater than or equal to 0; got -1.0",
    ),
    "a mix above one": (
        {"algorithm": {"name": "fedspeed", "mix": 1.5}},
        "algorithm.mix: expected less than or equal to 1; got 1.5",
    ),
    "a strength that is no number": (
        {"algorithm": {"name": "fedprox", "mu": float("nan")}},
        "algorithm.mu: expected a finite number; got nan",
    ),
    "a decay of one": (
        {"algorithm": {"name": "fedavg", "server_optimizer": {"name": "adam", "beta1": 1.0}}},
        "algorithm.server_optimizer.beta1: expected less than 1; got 1.0",
    ),
    "a server optimizer where there is none": (
        {"algorithm": {"name": "feddyn", "server_optimizer": "adam"}},
        "algorithm.server_optimizer: expected an option of feddyn; got one of fedavg, fedprox, "
        "scaffold, fednova, fedbn, fedper, fedrep, fedbabu, fedcm; allowed: alpha, quadratic",
    ),
    "norms behind nonlinearities where they stand before attention": (
        {"model": {"name": "vit", "norm_after_activation": True}},
        "model.norm_after_activation: expected an option of vit; got one of cnn, fedln_cnn, "
        "lenet, mlp",
    ),
    "fednova with momentum of earlier rounds": (
        {"algorithm": "fednova", "local": {"momentum": 0.9, "momentum_state": "persist"}},
        "local.momentum_state: expected reset, since momentum of FedNova must begin at zero "
        "in each round; got persist",
    ),
    "gradaug at no resolution": (
        {"model": "resnet20", "local": {"loss": "ce + gradaug(resolutions=())"}},
        "local.loss: gradaug.resolutions: ",
    ),
    "a label smoothing above one": (
        {"local": {"loss": "ce(smoothing=1.5)"}},
        "local.loss: ce.smoothing: expected less than or equal to 1; got 1.5",
    ),
    "an unknown algorithm": (
        {"algorithm": "fedavgg"},
        "algorithm.name: unknown name 'fedavgg'; did you mean fedavg?",
    ),
    "an unknown gradient": (
        {"local": {"gradient": "sma"}},
        "unknown name 'sma'; did you mean sam?",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_says_where_what_and_what_is_allowed(case):
    raw, expected = REFUSED[case]
    with pytest.raises(BadInput) as error:
        resolve(raw)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_head_makes_moon_possible():
    assert resolve({"model": {"name": "resnet20", "projection": 8}, "local": {"loss": "ce + moon"}})
