"""Floating-point operations of a step and of a forward pass, by the formulas of torch's counter.

As torch.utils.flop_counter.FlopCounterMode does, it counts matrix products and convolutions,
forward and backward, a multiply-add as two; sums, norms and activations count as nothing. That
counter itself imports torch's compiler when it is first used, which takes as long as a small run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mpifl.data.partition import Parts
from mpifl.training.algorithm import LocalRound
from mpifl.training.client import Task, play
from mpifl.training.clients import Clients, Work
from mpifl.training.local import Trained
from mpifl.training.messages import Sent

DRAWS = 8
"""steps whose mean is taken where they differ"""

_FEW, _MORE = 2, 4  # samples of the two batches that are counted


class Flops(NamedTuple):
    """What training takes: floating-point operations, and numbers that a client holds."""

    forward: int
    """of the forward pass of one sample, as in a test"""
    sample: float
    """of a training step, for each of its samples, with all passes that its loss and gradient take
    """
    once: float
    """of a training step, whatever its samples: such as LoRA's product of its two matrices"""
    batch: int
    """samples in a full batch, of a client that has as many"""
    draws: int
    """over how many steps these are means; 1 where each takes the same"""
    held: int
    """numbers that a client holds in training: weights, frozen ones, frozen copies of the model,
    the sent weights where a quadratic term pulls to them, what the algorithm sends and keeps beside
    the weights; without gradient, momentum and activations
    """

    @property
    def step(self) -> float:
        """Of a training step on a full batch."""
        return self.once + self.sample * self.batch

    def attributes(self, trained: int) -> dict[str, int | float]:
        """As a run stores them, of a model of which `trained` numbers train."""
        return {
            "flops_forward": self.forward,
            "flops_sample": self.sample,
            "flops_once": self.once,
            "flops_batch": self.batch,
            "flops_draws": self.draws,
            "parameters_trained": trained,
            "parameters_held": self.held,
        }

    def of_round(self, work: Work, cohort: np.ndarray, steps: np.ndarray) -> float:
        """Of a round in which each client of `cohort` takes so many `steps`, of its `work`."""
        samples = work.samples[cohort] / np.maximum(work.steps[cohort], 1) * steps
        return float(self.once * steps.sum() + self.sample * samples.sum())


def count(clients: Clients) -> Flops:
    """Count steps of one of `clients` on small batches, on a copy of its net, then thrown away.

    The client is the one with the most samples, and has played before (so that MOON has its
    previous model). Where a step's operations depend on draws (stochastic depth, GradAug), DRAWS
    steps are counted. What grows with the square of the batch, such as the similarities of its
    samples in FedRCL, counts as in a small batch.
    """
    batch = int(min(clients.local.batch, clients.sizes.max()))
    few = min(_FEW, batch)
    more = min(_MORE, batch)
    one = _alone(clients, more)
    draws = DRAWS if one.loss.varies else 1
    mean = _step(one, few, draws)
    once = 0.0
    if more > few:  # the first step of both batches has the same draws
        first = mean if draws == 1 else _step(one, few, 1)
        once = max(0.0, first - few * (_step(one, more, 1) - first) / (more - few))
    return Flops(_forward(one), (mean - once) / few, once, batch, draws, _held(one))


def _alone(clients: Clients, samples: int) -> Clients:
    """The client with the most samples, with the first of them and a net of its own.

    No step is recorded to be replayed: what an attempt takes would count too.
    """
    net = clients.net.copy()
    own = clients.parts[int(clients.sizes.argmax())][:samples]
    return replace(
        clients,
        net=net,
        samples=clients.samples.taken(own, net.device),
        parts=_one_part(samples),
        labels=clients.labels[own],
        graphs="no",
    )


def _one_part(samples: int) -> Parts:
    return Parts(np.arange(samples), np.array([0, samples]))


def _sent(one: Clients) -> Sent:
    """What a client is sent in the first round."""
    w = one.net.weights.cpu()
    vectors = one.algorithm.send(w, one.algorithm.init_server(w))
    return Sent(vectors, one.net.buffers).to(one.net.device)


def _step(one: Clients, samples: int, draws: int) -> float:
    """Of a step on so many samples, the mean over the first `draws` steps of a round."""
    one = replace(one, parts=_one_part(samples))
    state = replace(one.initial_state(one.net.weights.cpu()), has_played=True)
    steps = _Steps()
    counter = Counter()
    with sdpa_kernel(SDPBackend.MATH), counter:
        play(one, Task(0, 1, _sent(one), state, draws, alive=steps.begin))
    return counter.flops / steps.begun


def _forward(one: Clients) -> int:
    """Of the forward pass of one sample, as in a test."""
    x = one.samples.pick(torch.zeros(1, dtype=torch.int64, device=one.net.device))
    one.net.module.eval()
    counter = Counter()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        one.net(x, **one.loss.evaluated(one.net.module))
    return counter.flops


def _held(one: Clients) -> int:
    """`Flops.held`, once the client has played."""
    net = one.net
    terms = _Terms(one.local_round(0, 1))
    sent = _sent(one)
    own = one.initial_state(net.weights.cpu()).to(net.device).algorithm
    one.algorithm.client(sent.algorithm, own, terms)
    count = net.parameters
    for twin in net.twins:
        count += len(twin.weights) + len(twin.frozen)
    if terms.pulls or one.loss.pull:
        count += len(net.weights)
    for name, vector in sent.algorithm.items():
        if name != "w":
            count += vector.numel()
    return count + sum(vector.numel() for vector in own.values())


class _Terms:
    """The `train` of an algorithm that takes no step; notes whether it asks for a pull."""

    def __init__(self, of: LocalRound) -> None:
        self.of = of
        self.pulls = False

    def __call__(self, w: Tensor, *, pull: float = 0.0, **terms: object) -> Trained:
        self.pulls = self.pulls or pull > 0
        return Trained(w, 1, 1.0, 1.0, None, 0.0, 0.0)


class _Steps:
    """How many steps a client has begun."""

    def __init__(self) -> None:
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1


class Counter(TorchDispatchMode):
    """A context that adds up the floating-point operations inside it, in `flops`."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not to import torch's compiler only to turn it off."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        result = func(*args, **options)
        formula = flop_registry.get(getattr(func, "overloadpacket", None))
        if formula is not None:
            self.flops += int(formula(*args, **options, out_val=result))
        return result
