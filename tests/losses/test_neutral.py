"""At strength 0 every term, wrapper, gradient and algorithm is the run without it: the same
bits, draws and statistics.
"""

import json
from functools import cache

import pytest
from tiny import digests

MODELS = {
    "cnn": {"name": "cnn"},
    "resnet": {"name": "resnet20", "norm": "batch"},
    "headed cnn": {"name": "cnn", "projection": 8},
    "headed resnet": {"name": "resnet20", "norm": "batch", "projection": 8},
}
PLAIN = {"local": {"loss": "ce"}}


def of_loss(text):
    return {"local": {"loss": text}}


def of_gradient(name, **options):
    return {"local": {"gradient": {"name": name, **options}}}


def of_rule(name, **options):
    return {"algorithm": {"name": name, **options}}


BOTH, RESNET, HEADED = ("cnn", "resnet"), ("resnet",), ("headed cnn", "headed resnet")
CASES = {
    "ce": (of_loss("ce(smoothing=0.0)"), BOTH),
    "fedlc": (of_loss("fedlc(tau=0.0)"), BOTH),
    "man": (of_loss("ce + man(zeta=0.0)"), BOTH),
    "man before": (of_loss("ce + man(zeta=0.0, site='pre', layers=(0, 2))"), BOTH),
    "prox": (of_loss("ce + prox(mu=0.0)"), BOTH),
    "mixup": (of_loss("mixup(ce, gamma=0.0)"), BOTH),
    "moon": (of_loss("ce + moon(mu=0.0)"), HEADED),
    "teachers and features": (
        of_loss("ce + ntd(beta=0.0) + decorr(beta=0.0) + uv(lam=0.0, mu=0.0)"),
        BOTH,
    ),
    "rs": (of_loss("rs(alpha=1.0)"), BOTH),
    "rcl": (of_loss("ce + rcl(a=0.0, b=0.0)"), RESNET),
    "fedalign": (of_loss("ce + fedalign(mu=0.0)"), RESNET),
    "gradaug": (of_loss("ce + gradaug(mu=0.0)"), RESNET),
    "stochdepth": (of_loss("stochdepth(ce, keep=1.0)"), RESNET),
    "all around": (
        of_loss("mixup(stochdepth(ce + man(zeta=0.0), keep=1.0) + fedalign(mu=0.0), gamma=0.0)"),
        RESNET,
    ),
    "sam": (of_gradient("sam", rho=0.0), BOTH),
    "asam": (of_gradient("asam", rho=0.0), BOTH),
    "blend without radius": (of_gradient("blend", rho=0.0), BOTH),
    "blend without second": (of_gradient("blend", mix=0.0), BOTH),
    "fedprox": (of_rule("fedprox", mu=0.0), BOTH),
    "feddyn": (of_rule("feddyn", alpha=0.0), BOTH),
    "feddc": (of_rule("feddc", alpha=0.0, control=False), BOTH),
    "fedspeed": (of_rule("fedspeed", alpha=0.0, rho=0.0), BOTH),
    "server step": (
        of_rule("fedavg", server_optimizer={"name": "sgd", "lr": 1.0, "momentum": 0.0}),
        BOTH,
    ),
}


@cache
def known(text):
    return digests(json.loads(text))


def without(model, **sections):
    return known(json.dumps({"model": MODELS[model], **PLAIN, **sections}))


@pytest.mark.parametrize(
    ("case", "model"), [(case, model) for case, (_, models) in CASES.items() for model in models]
)
def test_at_strength_zero_nothing_moves(case, model):
    raw, _ = CASES[case]
    assert digests({"model": MODELS[model], **raw}) == without(model)


@pytest.mark.slow
@pytest.mark.parametrize(
    "term", ["man(zeta=0.0)", "prox(mu=0.0)", "fedalign(mu=0.0)", "gradaug(mu=0.0)"]
)
@pytest.mark.parametrize("wrapped", ["mixup(ce)", "stochdepth(ce, keep=0.5)"])
def test_at_strength_zero_beside_a_wrapper_nothing_moves(wrapped, term):
    """A pass of its own through the network would move the running statistics."""
    plain = without("resnet", **of_loss(wrapped))
    assert digests({"model": MODELS["resnet"], **of_loss(f"{wrapped} + {term}")}) == plain
    assert plain != without("resnet")


STRONG = {
    "ce": of_loss("ce(smoothing=0.1)"),
    "fedlc": of_loss("fedlc"),
    "man": of_loss("ce + man"),
    "prox": of_loss("ce + prox(mu=1.0)"),
    "ntd": of_loss("ce + ntd"),
    "decorr": of_loss("ce + decorr"),
    "uv": of_loss("ce + uv"),
    "rcl": of_loss("ce + rcl"),
    "mixup": of_loss("mixup(ce, gamma=1.0)"),
    "fedalign": of_loss("ce + fedalign"),
    "gradaug": of_loss("ce + gradaug"),
    "stochdepth": of_loss("stochdepth(ce, keep=0.2)"),
    "sam": of_gradient("sam"),
    "asam": of_gradient("asam"),
    "blend": of_gradient("blend"),
    "fedprox": of_rule("fedprox", mu=1.0),
    "feddyn": of_rule("feddyn"),
    "feddc": of_rule("feddc", alpha=0.0),
    "fedspeed": of_rule("fedspeed", alpha=0.0),
}


OF_BLOCKS = ("rcl", "fedalign", "gradaug", "stochdepth")
"""what only a network of residual blocks can have"""


@pytest.mark.slow
@pytest.mark.parametrize("case", STRONG)
def test_above_strength_zero_the_weights_differ(case):
    model = "resnet" if case in OF_BLOCKS else "cnn"
    assert digests({"model": MODELS[model], **STRONG[case]}) != without(model)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_the_teacher_of_fedgmt_at_strength_zero_moves_nothing_and_above_it_does(gamma):
    rule = of_rule("fedgmt")
    taught = digests({"model": MODELS["cnn"], **of_loss(f"ce + gmt(gamma={gamma})"), **rule})
    assert (taught == without("cnn", **rule)) == (gamma == 0)


def test_moon_changes_the_weights_once_clients_play_again():
    plain, moon = (
        digests({"model": MODELS["headed cnn"], "rounds": 3, **of_loss(text)})
        for text in ("ce", "ce + moon")
    )
    assert plain[0][0] == moon[0][0]
    assert plain[-1][0] != moon[-1][0]
