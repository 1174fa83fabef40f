"""Algorithms, losses, gradients, norms and models: their combinations, and how one is trained."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any, get_args

import numpy as np
import tiny
import torch

from mpifl.algorithms import ALGORITHMS, SERVER_OPTIMIZERS
from mpifl.models.layers import NormKind
from mpifl.parallel.communicator import Communicator
from mpifl.training.gradients import GRADIENTS
from mpifl.training.rounds import run

Choice = dict[str, str]
"""A value's name for each factor, or for some"""

HEADED = ("cnn", "fedln_cnn", "lenet", "pfl_cnn", "resnet18", "resnet20", "resnet56", "tiny_cnn")
RESIDUAL = ("resnet18", "resnet20", "resnet56")
OPTIONS = {"mlp": {"hidden": [8]}, "vit": {"dim": 8, "depth": 2, "heads": 2}}

SMALL = ("mlp", "lenet", "fedln_cnn", "resnet20", "vit")
"""one of each family"""

FACTORS: dict[str, dict[str, Any]] = {
    "algorithm": {name: {"name": name} for name in ALGORITHMS}
    | {
        f"fedavg, {name}": {"name": "fedavg", "server_optimizer": name}
        for name in SERVER_OPTIMIZERS
        if name != "sgd"
    }
    | {
        "scaffold, momentum": {
            "name": "scaffold",
            "server_optimizer": {"name": "sgd", "momentum": 0.5},
        },
        "fedlesam, scaffold": {"name": "fedlesam", "rule": "scaffold"},
        "fedlesam, feddyn": {"name": "fedlesam", "rule": "feddyn"},
        "fedspeed, stale": {"name": "fedspeed", "stale_ascent": True},
    },
    "loss": {
        text: text
        for text in (
            "ce",
            "ce(smoothing=0.1) + prox(mu=0.1)",
            "fedlc",
            "ce + man",
            "ce + man(layers='blocks')",
            "ce + man(site='pre', schedule=cosine(floor=0.5))",
            "ce + moon",
            "ce + fedalign",
            "ce + gradaug",
            "mixup(ce)",
            "stochdepth(ce, keep=0.5)",
            "ce + gmt",
            "mixup(rs) + ntd + decorr + uv",
            "ce + rcl",
            "mixup(ce) + man",
            "mixup(stochdepth(fedlc + man, keep=0.5) + gradaug(n=1)) + moon",
        )
    },
    "gradient": {name: name for name in GRADIENTS},
    "norm": {name: {"norm": name} for name in get_args(NormKind)}
    | {"fedfn": {"norm": "none", "feature_norm": True}},
    "model": {name: name for name in SMALL},
}

WITH_GRADIENT = [name for name, kind in ALGORITHMS.items() if kind().gradient is not None]

MODELS_OF = {
    "moon": HEADED,
    "fedalign": RESIDUAL,
    "gradaug": RESIDUAL,
    "stochdepth": RESIDUAL,
    "rcl": RESIDUAL,
    "blocks": RESIDUAL,
}
"""which models a loss with this word in it can have"""


def impossible(choice: Choice) -> bool:
    """Some algorithms have their own gradient, some losses need what only some models have, and
    gmt needs what only FedGMT sends.
    """
    loss, model = choice.get("loss", ""), choice.get("model")
    algorithm = choice.get("algorithm", "")
    has_own_gradient = algorithm.split(",")[0] in WITH_GRADIENT
    if has_own_gradient and choice.get("gradient", "plain") != "plain":
        return True
    if algorithm == "fedbn" and choice.get("norm") in ("none", "fedfn"):
        return True
    if algorithm == "fedbn" and model == "fedln_cnn":  # its norms have no scale
        return True
    if "gmt" in loss and algorithm not in ("", "fedgmt"):
        return True
    return model is not None and any(
        word in loss and model not in able for word, able in MODELS_OF.items()
    )


def pairs(choice: Choice) -> set[frozenset]:
    return {frozenset(pair) for pair in combinations(choice.items(), 2)}


def all_pairs() -> list[Choice]:
    """Every two values of different factors, in a fixed order."""
    return [
        {a: one, b: other}
        for a, b in combinations(FACTORS, 2)
        for one, other in product(FACTORS[a], FACTORS[b])
    ]


def cover() -> Iterator[Choice]:
    """Greedily, combinations in which every possible pair occurs: each begins with the first pair
    that is missing.
    """
    missing = {frozenset(pair.items()): pair for pair in all_pairs() if not impossible(pair)}
    while missing:
        choice = dict(next(iter(missing.values())))
        for factor in (name for name in FACTORS if name not in choice):
            candidates = [{**choice, factor: value} for value in FACTORS[factor]]
            possible = [candidate for candidate in candidates if not impossible(candidate)]
            choice = max(possible, key=lambda candidate: len(pairs(candidate) & missing.keys()))
        for pair in pairs(choice):
            missing.pop(pair, None)
        yield {factor: choice[factor] for factor in FACTORS}


def raw(choice: Choice) -> dict:
    values = {factor: FACTORS[factor].get(name, name) for factor, name in choice.items()}
    model = {"name": choice.get("model", "lenet"), **OPTIONS.get(choice.get("model"), {})}
    model |= values.get("norm", {})
    if "moon" in values.get("loss", "") and model["name"] in HEADED:
        model["projection"] = 4
    local = {name: values[name] for name in ("loss", "gradient") if name in values}
    algorithm = "fedgmt" if "gmt" in values.get("loss", "") else "fedavg"
    return {
        "clients": 2,
        "participation": {"fraction": 1.0},
        "data": {"options": {"train": 7, "test": 4}},
        "model": model,
        "algorithm": values.get("algorithm", {"name": algorithm}),
        "local": {"lr": 0.01, "batch": 3, "clip": 10.0, **local},
    }


def train(choice: Choice, rounds: int = 2, communicator: Communicator | None = None) -> None:
    """A few steps of two clients in each round: every number stays finite, and the weights move."""
    communicator = communicator or tiny.alone()
    x = tiny.experiment({"rounds": rounds, **raw(choice)})
    before = x.clients.net.weights.clone()
    progress = run(x, communicator)
    if communicator.is_server:
        assert all(
            vector.isfinite().all()
            for vector in (progress.w, progress.buffers, *progress.server.values())
        )
        assert np.isfinite(progress.rows[:, :5]).all()
        assert np.isfinite(progress.score.loss)
        assert not torch.equal(progress.w, before)
