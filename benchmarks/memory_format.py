"""Channels-last against contiguous images: which `channels_last` is right for a model on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from benchmarks.pairs import interleave
from benchmarks.report import Row
from mpifl.models import MODELS
from mpifl.net import Net
from mpifl.parallel.devices import configure

SHAPE, CLASSES = (3, 32, 32), 10
CASES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("resnet56", {}, 64),
    ("resnet56", {"norm": "group"}, 64),
    ("resnet20", {}, 64),
    ("resnet18", {}, 32),
    ("resnet18", {"norm": "group"}, 32),
    ("cnn", {}, 50),
    ("cnn", {"norm": "group"}, 50),
    ("pfl_cnn", {}, 10),
    ("lenet", {}, 50),
    ("tiny_cnn", {}, 50),
    ("fedln_cnn", {}, 50),
)
"""models, their options, and batch sizes"""
_NEAR = 0.03  # a ratio this close to 1 decides nothing


def memory_format() -> list[Row]:
    """a training step on channels-last images against contiguous ones; each model's choice should
    be the faster
    """
    configure(torch.device("cpu"), 1)
    return [_row(*case) for case in CASES]


def _row(name: str, options: dict, batch: int) -> Row:
    model = MODELS[name](**options)
    x = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))
    y = torch.arange(batch) % CLASSES
    channels_last = _step(Net(model.build(SHAPE, CLASSES), channels_last=True), x, y)
    contiguous = _step(Net(model.build(SHAPE, CLASSES)), x, y)
    title = f"{name} {options.get('norm', '')}".strip()
    row = Row.of(f"{title}, batch {batch}", interleave(channels_last, contiguous, 12))
    right = abs(row.ratio - 1) < _NEAR or model.channels_last == (row.ratio < 1)
    chosen = "channels-last" if model.channels_last else "contiguous"
    return replace(row, note=f"model chooses {chosen}: {'fine' if right else 'SLOWER'}")


def _step(net: Net, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        net.weights.add_(net.take_gradient(functional.cross_entropy(net(x).logits, y)), alpha=-0.01)

    return step
