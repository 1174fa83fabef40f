"""What is run: small synthetic experiments in which a round's work is known."""

from __future__ import annotations

import torch

from mpifl.parallel.devices import settle
from mpifl.runner import build, schema
from mpifl.training.experiment import Experiment

CIFAR = {"shape": [3, 32, 32], "classes": 10}

MANY_CLIENTS = {
    "name": "many small clients",
    "clients": 200,
    "participation": {"fraction": 0.25},
    "data": {"name": "synthetic", "options": {**CIFAR, "train": 10_000}},
    "partition": {"name": "iid"},
    "model": {"name": "pfl_cnn"},
    "local": {"batch": 10, "epochs": 1, "lr": 0.1},
}
"""pfl-research's CIFAR-10 benchmark: cohorts of 50 clients with 50 samples, 250 steps a round,
1,626,442 parameters.
"""

RESNET = {
    "name": "ResNet-56",
    "clients": 16,
    "data": {"name": "synthetic", "options": {**CIFAR, "train": 2_000}},
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "model": {"name": "resnet56"},
    "local": {"batch": 64, "epochs": 1, "lr": 0.1, "momentum": 0.9},
}
"""The papers' shape: 16 unlike clients with 2,000 samples, BatchNorm, momentum."""

TINY_STEPS = {
    "name": "tiny steps",
    "clients": 64,
    "data": {"name": "synthetic", "options": {"shape": [1, 8, 8], "classes": 10, "train": 2_048}},
    "partition": {"name": "iid"},
    "model": {"name": "mlp"},
    "local": {"batch": 32, "epochs": 1, "lr": 0.1},
}
"""Next to no arithmetic: 64 clients take one step each on 32 samples with 4,810 parameters."""


def experiment(raw: dict, rounds: int) -> Experiment:
    """The experiment that the config `raw` describes, on one CPU thread, tested at its end only."""
    device = torch.device("cpu")
    settle(device, 1)
    config = schema.resolve({**raw, "rounds": rounds, "evaluation": {"every": rounds + 1}})
    return build.experiment(config, build.load_data(config.data, config.seed), device)
