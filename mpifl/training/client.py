"""A worker playing one client: its data, its streams, its state in; its reply, its state and a row
of figures out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpifl import seeds
from mpifl.data.batches import Augmentation, Samples, deal, sequence
from mpifl.data.partition import Parts, counts
from mpifl.losses.step import ClientRound
from mpifl.net import Net
from mpifl.parallel.exact_sum import Message
from mpifl.training.batchnorm import BufferPolicy
from mpifl.training.client_states import State
from mpifl.training.local import Local, Loss, Trained, train

COLUMNS = ("weight", "samples", "steps", "loss", "accuracy", "seconds", "failed", "test_accuracy")
"""of a client's row; failed: 0 fine, 1 its loss is not finite, 2 its reply could not be added"""

MEAN_OF = "mean of "
"""before a name in `Clients.means`: the part of a reply from which the server makes that mean of
local models
"""

# a client's work beside its minibatches, in minibatches: loading weights, adding the reply
_FIXED_COST = 0.5


class Played(NamedTuple):
    """What playing one client ended in."""

    reply: Message
    state: State
    """what it remembers, on the host"""
    row: np.ndarray
    """float64 [COLUMNS]; the weight is the caller's to fill in"""
    model: tuple[Tensor, Tensor]
    """its weights [d] and buffers [b] after training"""


@dataclass
class Clients:
    """All clients, as any worker can play them on its one net."""

    net: Net
    samples: Samples
    parts: Parts
    """int64 sample indices of each client"""
    labels: np.ndarray
    """int64, of all samples, on the host"""
    classes: int
    algorithm: Any
    local: Local
    loss: Loss
    augmentation: Augmentation
    buffers: BufferPolicy
    seed: int
    rounds: int
    means: tuple[str, ...] = ()
    """means of local models that the server wants beside its own: cohort, all"""

    def __len__(self) -> int:
        return len(self.parts)

    def __post_init__(self) -> None:
        self.sizes = self.parts.sizes
        if self.algorithm.gradient is not None:
            self.local = replace(self.local, gradient=self.algorithm.gradient)

    def counts(self) -> np.ndarray:
        """int32 [clients, classes]: how many samples of each class each client has; made anew at
        each call.
        """
        return counts(self.labels, self.parts, self.classes)

    def costs(self, cohort: np.ndarray) -> np.ndarray:
        """The expected work of each client of `cohort`, in minibatches."""
        return self.steps(cohort) + _FIXED_COST

    def steps(self, cohort: np.ndarray) -> np.ndarray:
        """int64 [cohort]: how many minibatches each client of `cohort` trains on in a round."""
        local = self.local
        if local.steps:
            return np.full(len(cohort), local.steps, dtype=np.int64)
        full, rest = np.divmod(self.sizes[cohort], local.batch)
        short = (rest > 0) & ((full == 0) | (not local.drop_last))
        return local.epochs * (full + short)

    def rate(self, round: int) -> float:
        """The local learning rate of `round`."""
        return self.local.lr * self.local.schedule(round, self.rounds)

    def initial_state(self, w: Tensor) -> State:
        """What a client remembers before its first round, on the host: empty for rules without
        memory.

        Besides the algorithm's own: `momentum`, `previous` (its last model), `latest` (its last
        weights) and `buffers`, as far as asked for.
        """
        state = dict(self.algorithm.init_client(w))
        if self.local.momentum and self.local.momentum_state == "persist":
            state["momentum"] = torch.zeros_like(w)
        keeps_buffers = self.buffers.policy == "local" and len(self.net.buffers) > 0
        if keeps_buffers or "previous" in self.loss.needs:
            state["met"] = w.new_zeros(1)
        if "previous" in self.loss.needs:
            state |= {"previous": w.clone(), "previous_buffers": self.net.buffers.cpu().clone()}
        if "all" in self.means:
            state["latest"] = w.clone()
        if keeps_buffers:
            state["buffers"] = self.net.buffers.cpu().clone()
        return state

    def reply_like(self, sent: Message, own: State) -> Message:
        """A reply's names, shapes and types, without training anybody."""
        own = {name: vector.to(self.net.device) for name, vector in own.items()}
        untrained = Trained(sent["w"], 1, 1.0, 1.0, None, 0.0, 0.0)
        reply, _ = self.algorithm.client(sent, own, lambda w, **_: untrained)
        reply |= self._for_means(sent["w"], sent["w"])
        if "buffers" in sent:
            reply["buffers"] = self.buffers.encode(sent["buffers"])
        return reply

    def play(
        self,
        client: int,
        round: int,
        sent: Message,
        own: State,
        alive: Callable[[], None] = lambda: None,
    ) -> Played:
        """One client's round from what was `sent` (on the net's device); `alive` is called at each
        minibatch.
        """
        began, device = time.perf_counter(), self.net.device
        own = {name: vector.to(device) for name, vector in own.items()}
        if "buffers" in sent:
            self.net.buffers.copy_(
                own["buffers"] if "buffers" in own and own["met"] else sent["buffers"]
            )
        result: Trained | None = None

        def local_training(
            w: Tensor, *, linear: Tensor | None = None, pull: float = 0.0
        ) -> Trained:
            nonlocal result
            context = self._context(client, round, sent, own)
            batches = self._batches(client, round, alive)
            momentum = own.get("momentum")
            terms = {"momentum": momentum, "linear": linear, "pull": pull}
            result = train(
                self.net, self.loss, self.local, batches, context, self.rate(round), w, **terms
            )
            return result

        reply, kept = self.algorithm.client(sent, own, local_training)
        reply |= self._for_means(result.y, own.get("latest"))
        if "buffers" in sent:
            reply["buffers"] = self.buffers.encode(self.net.buffers)
        kept = {**own, **kept, **self._remembered(own, result)}
        figures = (result.steps, result.loss, result.accuracy, time.perf_counter() - began)
        row = (0.0, self.sizes[client], *figures, 0.0, np.nan)
        state = {name: vector.cpu() for name, vector in kept.items()}
        return Played(reply, state, np.array(row), (result.y, self.net.buffers))

    def _for_means(self, y: Tensor, latest: Tensor | None) -> Message:
        parts = {"cohort": lambda: y, "all": lambda: y - latest}
        return {MEAN_OF + name: parts[name]() for name in self.means}

    def _remembered(self, own: State, result: Trained) -> State:
        buffers = self.net.buffers.clone()
        fresh = {"momentum": result.momentum, "buffers": buffers, "latest": result.y}
        fresh |= {"previous": result.y, "previous_buffers": buffers, "met": result.y.new_ones(1)}
        return {name: vector for name, vector in fresh.items() if name in own}

    def _context(self, client: int, round: int, sent: Message, own: State) -> ClientRound:
        counts = np.bincount(self.labels[self.parts[client]], minlength=self.classes)
        met = bool(own.get("met", False))
        previous = (own["previous"], own["previous_buffers"]) if met and "previous" in own else None
        model = (sent["w"], sent.get("buffers", self.net.buffers))
        return ClientRound(
            self.seed, client, round, self.classes, counts, model, previous, self.rounds
        )

    def _batches(
        self, client: int, round: int, alive: Callable[[], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        local = self.local
        shuffle = seeds.generator(self.seed, "shuffle", client, round)
        own, steps = self.parts[client], local.steps or None
        order, lengths = sequence(own, local.batch, local.epochs, steps, local.drop_last, shuffle)
        augmentation, draws = self.augmentation, None
        if not augmentation.is_nothing:  # making a stream would take a tenth of a tiny step
            draws = augmentation.draw(
                len(order), seeds.generator(self.seed, "augment", client, round)
            )
        for minibatch in deal(self.samples, order, lengths, augmentation, draws):
            alive()
            yield minibatch
