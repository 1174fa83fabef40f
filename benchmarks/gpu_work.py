"""How much `python -m benchmarks gpu` does, and how it takes the time of the device's work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import methods, workloads
from mpifl.config import merge
from mpifl.training.experiment import Experiment
from mpifl.training.lane_choice import LanesWanted


@dataclass(frozen=True)
class Size:
    """How much is done."""

    kind: str
    """of device"""
    rounds: int
    """of W1, that are timed"""
    steps: int
    """of ResNet-56, that are timed"""
    pairs: int
    """of each method"""
    ranks: tuple[int, ...]
    lanes: tuple[LanesWanted, ...]
    """the first of them 1"""
    methods: tuple[str, ...]
    changes: dict[str, Any]
    """of the configs"""


FULL = Size(
    kind="cuda",
    rounds=60,
    steps=60,
    pairs=5,
    ranks=(1, 2, 3, 4),
    lanes=(1, 2, 4, 8, "auto"),
    methods=tuple(methods.METHODS),
    changes={},
)
DRY = Size(
    kind="cpu",
    rounds=2,
    steps=2,
    pairs=1,
    ranks=(2,),
    lanes=(1, 2, "auto"),
    methods=("man",),
    changes={
        "clients": 8,
        "data": {"options": {"shape": [3, 8, 8], "train": 80}},
        "model": {"name": "lenet"},
        "local": {"batch": 2},
    },
)
"""a tiny net in place of all"""


def device_of(kind: str) -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda", 0) if kind == "cuda" else torch.device("cpu")


def synchronized(action: Callable[[], object]) -> Callable[[], float]:
    """`action` as a function that returns its seconds, all of the device's work included."""

    def timed() -> float:
        _wait()
        began = time.perf_counter()
        action()
        _wait()
        return time.perf_counter() - began

    return timed


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def experiment_of(size: Size, raw: dict, rounds: int, **changes: Any) -> Experiment:
    """The experiment of a raw config, with the changes of this size and `changes`."""
    tf32 = changes.get("precision") == "tf32"
    config = merge(merge(raw, size.changes), changes)
    return workloads.experiment(config, rounds, device_of(size.kind), tf32)
