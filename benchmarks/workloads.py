"""The workloads: small synthetic experiments whose work in a round is known."""

from __future__ import annotations

from typing import Any

import torch

from mpifl.parallel.devices import configure
from mpifl.runner import build, schema
from mpifl.training.experiment import Experiment

CIFAR = {"shape": [3, 32, 32], "classes": 10}

MANY_CLIENTS: dict[str, Any] = {
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

RESNET: dict[str, Any] = {
    "name": "ResNet-56",
    "clients": 16,
    "data": {"name": "synthetic", "options": {**CIFAR, "train": 2_000}},
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "model": {"name": "resnet56"},
    "local": {"batch": 64, "epochs": 1, "lr": 0.1, "momentum": 0.9},
}
"""As in the papers: 16 different clients with 2,000 samples in all, BatchNorm, momentum."""

TINY_STEPS: dict[str, Any] = {
    "name": "tiny steps",
    "clients": 64,
    "data": {"name": "synthetic", "options": {"shape": [1, 8, 8], "classes": 10, "train": 2_048}},
    "partition": {"name": "iid"},
    "model": {"name": "mlp"},
    "local": {"batch": 32, "epochs": 1, "lr": 0.1},
}
"""Very little arithmetic: 64 clients take one step each on 32 samples with 4,810 parameters."""


LARGE_TEST: dict[str, Any] = {
    "name": "a large test set",
    "clients": 6,
    "data": {
        "name": "synthetic",
        "options": {"shape": [3, 16, 16], "classes": 7, "train": 7_993, "test": 1_998},
    },
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "model": {"name": "resnet18"},
    "local": {"batch": 32, "steps": 2, "lr": 0.01},
}
"""As many images as PACS has, but smaller: 6 clients take two steps each, 1,998 are tested."""
LARGE_TEST_BATCH = 500


CPU = torch.device("cpu")


def experiment(
    raw: dict, rounds: int, device: torch.device = CPU, tf32: bool = False
) -> Experiment:
    """The experiment of the config `raw`, on one CPU thread or a GPU, tested at its end only."""
    configure(device, 1, tf32)
    config = schema.resolve({**raw, "rounds": rounds, "evaluation": {"every": rounds + 1}})
    return build.experiment(config, build.load_data(config.data, config.seed), device)
