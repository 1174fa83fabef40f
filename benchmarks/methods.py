"""What a method costs: a local step with it against a plain one, ResNet-56, batch 64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.pairs import interleave
from benchmarks.report import Row
from benchmarks.workloads import CPU, RESNET, experiment
from mpifl.config import merge
from mpifl.training.client import Task, play
from mpifl.training.messages import Sent

HEAD = {"model": {"name": "resnet56", "projection": 256}}

METHODS: dict[str, tuple[dict[str, Any], float, str]] = {
    "man": ({"local": {"loss": "ce + man"}}, 1.05, "paper: negligible"),
    "fedalign": ({"local": {"loss": "ce + fedalign", "clip": 10.0}}, 1.15, "paper: 1.21"),
    "moon": ({"local": {"loss": "ce + moon"}, **HEAD}, 2.0, "paper: 3.0; both have the head"),
    "gradaug n=2": (
        {"local": {"loss": "ce + gradaug(n=2)"}},
        2.0,
        "paper: 2.36; its multiply-adds: 2.04",
    ),
    "stochdepth": ({"local": {"loss": "stochdepth(ce)"}}, 1.0, "paper: 1.00"),
    "mixup": ({"local": {"loss": "mixup(ce)"}}, 1.05, "paper: 1.00"),
    "sam": ({"local": {"gradient": "sam"}}, 2.05, ""),
    "asam": ({"local": {"gradient": "asam"}}, 2.05, ""),
}
"""name -> changes of the config, the bar, the published ratio of seconds a round"""

_STEPS = 2


def methods() -> list[Row]:
    """a local step with each loss and gradient : a plain step, ResNet-56, batch 64"""
    plain = steps({})
    with_head = steps(HEAD)
    rows = []
    for name, (changes, bar, note) in METHODS.items():
        pairs = interleave(steps(changes), with_head if "model" in changes else plain, 7)
        rows.append(Row.of(name, pairs, bar, note))
    return rows


def steps(changes: dict, device: torch.device = CPU) -> Callable[[], object]:
    """A few local steps of one client that has played before, all of the same batch size."""
    raw = merge({**RESNET, "partition": {"name": "iid"}}, {"local": {"steps": _STEPS}})
    x = experiment(merge(raw, changes), 2, device)
    net = x.clients.net
    sent = Sent({"w": net.weights.clone()}, net.buffers.clone())
    # Some methods do nothing in a client's first round.
    state = replace(x.clients.initial_state(net.weights.clone()), has_played=True)
    task = Task(0, 2, sent, state)
    return lambda: play(x.clients, task)
