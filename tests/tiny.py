"""Tiny nets, minibatches and whole runs on made-up images: real parts, small enough for tests."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpifl.config import merge
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse
from mpifl.losses.loss import Sum
from mpifl.losses.step import ClientRound, Step
from mpifl.models import MODELS
from mpifl.models.output import KEEPABLE, Output
from mpifl.net import Net, digest
from mpifl.parallel.communicator import Communicator
from mpifl.runner import build, schema
from mpifl.training.callback import Callback
from mpifl.training.experiment import Experiment
from mpifl.training.progress import Progress
from mpifl.training.rounds import run

SHAPE, CLASSES = (3, 8, 8), 4

RUN = {
    "seed": 5,
    "rounds": 2,
    "clients": 3,
    "participation": {"fraction": 0.67},
    "data": {
        "name": "synthetic",
        "options": {"shape": list(SHAPE), "classes": CLASSES, "train": 36, "test": 12},
    },
    "partition": {"name": "iid"},
    "local": {"lr": 0.05, "batch": 7, "momentum": 0.9},
}


def net(
    model: str = "cnn",
    shape: tuple[int, int, int] = SHAPE,
    dtype=torch.float64,
    device: torch.device | str = "cpu",
    **options,
) -> Net:
    """A net with weights of its own, in float64."""
    torch.manual_seed(0)
    return Net(MODELS[model](**options).build(shape, CLASSES).to(dtype), device)


def batch(
    n: int = 6, shape: tuple[int, int, int] = SHAPE, dtype=torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Images and labels."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=random, dtype=dtype), torch.randint(
        CLASSES, (n,), generator=random
    )


def step(
    of: Net, n: int = 6, number: int = 0, images: tuple[Tensor, Tensor] | None = None, **context
) -> Step:
    """A training step of client 1 in round 2, which has ten samples of each class."""
    x, y = batch(n, dtype=of.weights.dtype) if images is None else images
    counts = context.pop("counts", np.full(CLASSES, 10))
    known = {
        "labels": np.repeat(np.arange(len(counts)), counts),
        "sent": (of.weights.clone(), of.buffers.clone()),
    } | context
    of.module.train()
    return Step(of, x, y, ClientRound(1, 1, 2, len(counts), **known), number, {"keep": KEEPABLE})


def step_with(logits: Tensor, y: Tensor, **context) -> Step:
    """A training step whose forward pass has made `logits [B, C]`."""
    at = step(net("mlp", hidden=[2]), images=(batch(len(y))[0], y), **context)
    at._out = Output(logits, logits)
    return at


def loss(text: str):
    """The loss of an expression, of regularisers alone too."""
    _, *terms = parse(f"ce + {text}", LOSSES).terms
    return terms[0] if len(terms) == 1 else Sum(terms=tuple(terms))


class Result(NamedTuple):
    """Of a loss at one step."""

    value: Tensor
    gradient: Tensor


def taken(of: Net, term, at: Step) -> Result:
    """The value and the gradient [d] of a loss, by itself."""
    value = term(at)
    if not value.requires_grad:
        return Result(value, torch.zeros_like(of.weights))
    return Result(value.detach(), of.take_gradient(value).clone())


def slices(of: Net, flat: Tensor, kind: str = "parameter") -> dict[str, Tensor]:
    """A flat vector, [d] or for `buffer` [b], as one tensor a name."""
    return {
        e.name: flat[e.offset : e.offset + e.size].view(e.shape)
        for e in of.layout
        if e.kind == kind
    }


def experiment(raw: dict) -> Experiment:
    """What `RUN`, overlaid with `raw`, describes; raises BadInput."""
    config = schema.resolve(merge(RUN, raw))
    dataset = build.load_data(config.data, config.seed, config.holdout.domains)
    return build.experiment(config, dataset, torch.device("cpu"))


@cache
def alone() -> Communicator:
    """A run of one rank. Made once: each takes three communicators, and MPICH has 2,048 for a
    process.
    """
    return Communicator()


class Digests(Callback):
    """The digest of weights and buffers, and the clients' figures, of every round."""

    def __init__(self) -> None:
        self.rounds: list[tuple[str, list[float]]] = []

    def round_finished(self, progress: Progress, last: bool) -> None:
        self.rounds.append((digest(progress.w, progress.buffers), progress.rows[:, :5].tolist()))


def digests(raw: dict, communicator: Communicator | None = None) -> list[tuple[str, list[float]]]:
    """Run `RUN`, overlaid with `raw`: what identifies each of its rounds, on the server."""
    callback = Digests()
    run(experiment(raw), communicator or alone(), [callback])
    return callback.rounds
