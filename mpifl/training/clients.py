"""All clients of a run: their samples, the options of their training, and what follows from these.

Their minibatches come from streams that are named by client and round, so a client's are the same
on every rank.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpifl import seeds
from mpifl.data.augmentation import Augmentation
from mpifl.data.batches import (
    CHUNK,
    DealtTogether,
    Minibatches,
    Order,
    Samples,
    deal,
    sequence,
)
from mpifl.data.partition import Parts, counts
from mpifl.losses.loss import Loss
from mpifl.net import Net
from mpifl.training.algorithm import Algorithm, LocalRound, check_vectors
from mpifl.training.batchnorm import BufferPolicy
from mpifl.training.client_states import ClientState
from mpifl.training.local import Local
from mpifl.training.messages import Model, Sent
from mpifl.training.steps import Graphs
from mpifl.training.trainer import Trainer


class Work(NamedTuple):
    """How much clients have to do in a full round; arrays [clients]."""

    passes: int
    """over their samples; 0 where `local.steps` says how many minibatches"""
    steps: np.ndarray
    """int64: minibatches"""
    samples: np.ndarray
    """f8: samples in these minibatches"""


class _Streams(NamedTuple):
    """The random streams of a client's batches in a round."""

    shuffle: np.random.Generator
    augment: np.random.Generator | None
    """None where nothing is changed"""


@dataclass
class Clients:
    """All clients; any worker can play each of them on its net (`client.play`)."""

    net: Net
    samples: Samples
    parts: Parts
    """int64 sample indices of each client"""
    labels: np.ndarray
    """int64, of all samples, on the host"""
    classes: int
    algorithm: Algorithm
    local: Local
    loss: Loss
    augmentation: Augmentation
    buffers: BufferPolicy
    seed: int
    rounds: int
    means: tuple[str, ...] = ()
    """means of local models that the server wants beside its own: cohort, all"""
    graphs: Graphs = "auto"
    """which local steps are recorded and replayed"""

    def __len__(self) -> int:
        return len(self.parts)

    def __post_init__(self) -> None:
        self.sizes = self.parts.sizes
        self.samples_held = int(self.sizes.sum())
        self._mean_size = self.samples_held / max(1, int(np.count_nonzero(self.sizes)))
        self.algorithm = self.algorithm.placed(self.net.coordinates)
        if self.algorithm.gradient is not None:
            self.local = replace(self.local, gradient=self.algorithm.gradient)
        self._trainers: dict[Net, Trainer] = {}

    def on(self, net: Net) -> Clients:
        """The same clients, who play on another net."""
        clients = copy.copy(self)
        clients.net = net
        return clients

    def forget(self, net: Net) -> None:
        """Drop what training on another net has kept."""
        self._trainers.pop(net, None)

    @property
    def trainer(self) -> Trainer:
        """The local training on the net, with the loss and the options of today."""
        trainer = self._trainers.get(self.net)
        if trainer is None or not trainer.is_for(self.loss, self.local):
            trainer = Trainer(self.net, self.loss, self.local, self.graphs)
            self._trainers[self.net] = trainer
        return trainer

    def counts(self) -> np.ndarray:
        """int32 [clients, classes]: samples by client and class; made anew at each call."""
        return counts(self.labels, self.parts, self.classes)

    def steps(self, cohort: np.ndarray) -> np.ndarray:
        """int64 [cohort]: how many minibatches each client of `cohort` has in a full round."""
        return self.work(cohort).steps

    def work(self, cohort: np.ndarray | None = None) -> Work:
        """What each client of `cohort`, or of all, has to do in a full round."""
        local = self.local
        sizes = self.sizes if cohort is None else self.sizes[cohort]
        full, rest = np.divmod(sizes, local.batch)
        has_short = (rest > 0) & ((full == 0) | (not local.drop_last))
        batches = full + has_short
        used = np.where(has_short, sizes, full * local.batch)
        if not local.steps:
            return Work(local.epochs, local.epochs * batches, local.epochs * used)
        steps = np.full(len(sizes), local.steps, dtype=np.int64)
        return Work(0, steps, steps * used / np.maximum(batches, 1))

    def rate(self, round: int) -> float:
        """The local learning rate of `round`."""
        return self.local.lr * self.local.schedule(round, self.rounds)

    def initial_state(self, w: Tensor) -> ClientState:
        """What a client keeps before its first round, on the host; all empty where nobody asks."""
        initial = Model(w.clone(), self.net.buffers.cpu().clone())
        persists = self.local.momentum_state == "persist"
        keeps_momentum = self.local.momentum and persists
        keeps_previous = "previous" in self.loss.needs
        keeps_latest = "all" in self.means
        keeps_buffers = self.buffers.policy == "local" and len(self.net.buffers) > 0
        where = f"{type(self.algorithm).__name__}.init_client"
        return ClientState(
            algorithm=check_vectors(where, self.algorithm.init_client(w)),
            momentum=torch.zeros_like(w) if keeps_momentum else None,
            previous=initial if keeps_previous else None,
            latest=w.clone() if keeps_latest else None,
            buffers=initial.buffers.clone() if keeps_buffers else None,
            moments=self.local.optimizer.initial(w) if persists else {},
        )

    def start(self, sent: Sent, state: ClientState) -> Model:
        """The model with which a client begins its round: `sent`, with its own parts."""
        own = {name: vector.to(self.net.device) for name, vector in state.algorithm.items()}
        weights = self.algorithm.model(sent.start.weights, own)
        return Model(weights, self.buffers_at_start(sent, state).to(self.net.device))

    def buffers_at_start(self, sent: Sent, state: ClientState) -> Tensor:
        """The buffers [b] with which a client begins its round: its own, if it has any.

        A client with a model of its own begins with the initial ones.
        """
        if state.buffers is not None and (state.has_played or self.algorithm.personal):
            return state.buffers
        return sent.buffers

    def local_round(self, client: int, round: int, steps: int | None = None) -> LocalRound:
        """What the algorithm may know of the client's round, of `steps` or of a full round's."""
        local = self.local
        return LocalRound(
            round=round,
            rounds=self.rounds,
            lr=self.rate(round),
            first_lr=self.rate(1),
            steps=steps or int(self.steps(np.array([client]))[0]),
            mean_steps=local.steps or local.epochs * math.ceil(self._mean_size / local.batch),
            relative_size=float(self.sizes[client] / self._mean_size),
            gradient=local.gradient,
        )

    def unsent(self) -> int:
        """How many numbers of a message stay with the client in a real federation."""
        if not self.algorithm.personal:
            return 0
        return self.algorithm.kept + len(self.net.buffers)

    def batches(
        self, client: int, round: int, epochs: int = 0, call: int = 0, steps: int | None = None
    ) -> Minibatches:
        """The client's minibatches of a round: images and labels, on the net's device.

        There are `steps` of them, or as many as the config says; the first ones are the same
        whatever their number, but for augmentation. `epochs` replaces the config's number of passes
        or steps. The minibatches of another `call` in the same round are others.
        """
        stream = (client, round) if call == 0 else (client, round, call)
        streams = _Streams(
            seeds.generator(self.seed, "shuffle", *stream),
            seeds.generator(self.seed, "augment", *stream),
        )
        order = self._order(client, streams, epochs, steps)
        return deal(self.samples, order, self.augmentation)

    def minibatches(
        self, clients: Sequence[int], round: int, steps: Sequence[int]
    ) -> Iterator[Callable[[], Minibatches]]:
        """For each of `clients` in turn, what gives its `batches` of a round, of `steps` each.

        Those of several small clients are prepared together, which is much quicker.
        """
        group = DealtTogether(self.samples, self.augmentation)
        waiting: list[Callable[[], Minibatches]] = []
        shuffles = seeds.generators(self.seed, "shuffle", clients, round)
        augments: Iterable[np.random.Generator | None] = repeat(None)
        if not self.augmentation.is_nothing:
            augments = seeds.generators(self.seed, "augment", clients, round)
        streams = map(_Streams, shuffles, augments)
        for client, own_steps, own_streams in zip(clients, steps, streams, strict=True):
            order = self._order(client, own_streams, steps=own_steps)
            if group.size + len(order.indices) > CHUNK:
                yield from waiting
                group = DealtTogether(self.samples, self.augmentation)
                waiting = []
            waiting.append(group.add(order))
        yield from waiting

    def _order(
        self, client: int, streams: _Streams, epochs: int = 0, steps: int | None = None
    ) -> Order:
        local = self.local
        own = self.parts[client]
        if epochs:
            steps = None
        else:
            steps = steps or local.steps or None
        order, lengths = sequence(
            own, local.batch, epochs or local.epochs, steps, local.drop_last, streams.shuffle
        )
        draws = None
        if streams.augment is not None:
            draws = self.augmentation.draw(len(order), streams.augment, self.samples.size)
        return Order(order, lengths, draws)


def pooled(clients: Clients) -> Clients:
    """One client with the samples of all, whose momentum stays from round to round."""
    indices = np.sort(clients.parts.indices)
    parts = Parts(indices, np.array([0, len(indices)]))
    return replace(clients, parts=parts, local=replace(clients.local, momentum_state="persist"))
