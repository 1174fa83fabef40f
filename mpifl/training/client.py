"""A worker plays one client: its data, its random streams and its state go in; a reply, a state
and a row of figures come out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
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
from mpifl.losses.step import ClientRound
from mpifl.net import Net
from mpifl.training.algorithm import Algorithm, LocalRound, check_vectors
from mpifl.training.batchnorm import BufferPolicy
from mpifl.training.client_states import ClientState
from mpifl.training.gradients import Oracle
from mpifl.training.local import Local, Trained
from mpifl.training.messages import Model, Reply, Sent, Vectors
from mpifl.training.steps import Graphs
from mpifl.training.trainer import Trainer


class Column(IntEnum):
    """A place in a client's row of figures."""

    WEIGHT = 0
    SAMPLES = 1
    STEPS = 2
    LOSS = 3
    ACCURACY = 4
    SECONDS = 5
    FAILED = 6
    """a Failure"""
    TEST_ACCURACY = 7
    OWN_RIGHT_BEFORE = 8
    """samples of its own test set that the model it is sent classifies right"""
    OWN_RIGHT_AFTER = 9
    """those that its model classifies right after its training"""


COLUMNS = tuple(column.name.lower() for column in Column)
"""their names, as they are stored"""


class Failure(IntEnum):
    """What went wrong with a client."""

    NONE = 0
    LOSS_NOT_FINITE = 1
    REPLY_OUT_OF_RANGE = 2
    """its reply is not finite, or too large to be added"""
    LATE = 3
    """it is a straggler, and `heterogeneity.late` is drop: it was not played"""

    @property
    def reason(self) -> str:
        """What went wrong, as a part of a sentence; empty for NONE."""
        return _REASONS[self]


_REASONS = {
    Failure.NONE: "",
    Failure.LOSS_NOT_FINITE: "its training loss is not finite",
    Failure.REPLY_OUT_OF_RANGE: "its reply is not finite or far too large",
    Failure.LATE: "its reply comes too late",
}


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


class Played(NamedTuple):
    """What playing one client ended in."""

    reply: Reply
    state: ClientState
    """on the host"""
    row: np.ndarray
    """float64 [Column]; the weight is the caller's to fill in"""
    model: Model
    """its own, after training"""


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
        self._trainer: Trainer | None = None

    @property
    def trainer(self) -> Trainer:
        """The local training with the loss and the options of today."""
        if self._trainer is None or not self._trainer.is_for(self.loss, self.local):
            self._trainer = Trainer(self.net, self.loss, self.local, self.graphs)
        return self._trainer

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
        return ClientState(
            algorithm=check_vectors(self._where("init_client"), self.algorithm.init_client(w)),
            momentum=torch.zeros_like(w) if keeps_momentum else None,
            previous=initial if keeps_previous else None,
            latest=w.clone() if keeps_latest else None,
            buffers=initial.buffers.clone() if keeps_buffers else None,
            moments=self.local.optimizer.initial(w) if persists else {},
        )

    def play(
        self,
        client: int,
        round: int,
        sent: Sent,
        state: ClientState,
        alive: Callable[[], None] = lambda: None,
        steps: int | None = None,
        dealt: Callable[[], Minibatches] | None = None,
    ) -> Played:
        """One client's round, from what was `sent` (on the net's device).

        `alive` is called at each minibatch, of which there are `steps`, or as many as `local` says.
        They are those that `dealt`, one of `minibatches`, gives, if it is there. Raises
        RuntimeError for an algorithm that does not train.
        """
        began = time.perf_counter()
        state = state.to(self.net.device)
        if sent.buffers.numel():
            self.net.buffers.copy_(self._buffers_at_start(sent, state))
        training = _LocalTraining(self, client, round, sent, state, alive, steps, dealt)
        reply, remembered = self.algorithm.client(sent.algorithm, state.algorithm, training)
        trained = training.result()
        weights = self.algorithm.model(trained.y, remembered)
        where = self._where("client")
        check_vectors(f"{where}, its reply", reply)
        check_vectors(f"{where}, what it remembers", remembered, like=state.algorithm)
        row = np.zeros(len(COLUMNS))
        row[Column.SAMPLES] = self.sizes[client]
        row[Column.STEPS] = trained.steps
        row[Column.LOSS] = trained.loss
        row[Column.ACCURACY] = trained.accuracy
        row[Column.SECONDS] = time.perf_counter() - began
        row[[Column.TEST_ACCURACY, Column.OWN_RIGHT_BEFORE, Column.OWN_RIGHT_AFTER]] = np.nan
        return Played(
            self._reply(reply, weights, state),
            self._next_state(remembered, weights, trained, state),
            row,
            Model(weights, self.net.buffers.clone()),
        )

    def start(self, sent: Sent, state: ClientState) -> Model:
        """The model with which a client begins its round: `sent`, with its own parts."""
        own = {name: vector.to(self.net.device) for name, vector in state.algorithm.items()}
        weights = self.algorithm.model(sent.start.weights, own)
        return Model(weights, self._buffers_at_start(sent, state).to(self.net.device))

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
        steps = None if epochs else steps or local.steps or None
        order, lengths = sequence(
            own, local.batch, epochs or local.epochs, steps, local.drop_last, streams.shuffle
        )
        draws = None
        if streams.augment is not None:
            draws = self.augmentation.draw(len(order), streams.augment, self.samples.size)
        return Order(order, lengths, draws)

    def context(
        self, client: int, round: int, sent: Sent, state: ClientState, done: int = 0
    ) -> ClientRound:
        """What losses may know of the client's round, of which `done` steps are taken."""
        begin = self.start(sent, state) if self.algorithm.personal else sent.start
        return ClientRound(
            seed=self.seed,
            client=client,
            round=round,
            classes=self.classes,
            labels=self.labels[self.parts[client]],
            sent=begin,
            previous=state.previous if state.has_played else None,
            initial=None if state.has_played else state.previous,
            rounds=self.rounds,
            vectors=sent.algorithm,
            done=done,
        )

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

    def _buffers_at_start(self, sent: Sent, state: ClientState) -> Tensor:
        """Its own, if it has any; a client with a model of its own begins with the initial ones."""
        if state.buffers is not None and (state.has_played or self.algorithm.personal):
            return state.buffers
        return sent.buffers

    def _where(self, function: str) -> str:
        """Where an algorithm has given what it may not give."""
        return f"{type(self.algorithm).__name__}.{function}"

    def _reply(self, vectors: Vectors, weights: Tensor, state: ClientState) -> Reply:
        means = {}
        if "cohort" in self.means:
            means["cohort"] = weights
        if state.latest is not None:
            means["all"] = weights - state.latest
        return Reply(vectors, self.buffers.encode(self.net.buffers), means)

    def _next_state(
        self, vectors: Vectors, weights: Tensor, trained: Trained, state: ClientState
    ) -> ClientState:
        """What the client keeps from now on: as much as it kept before."""
        if not state.keeps_anything:
            return state
        buffers = self.net.buffers.clone()
        kept = ClientState(
            algorithm=vectors,
            momentum=None if state.momentum is None else trained.momentum,
            previous=None if state.previous is None else Model(weights, buffers),
            latest=None if state.latest is None else weights,
            buffers=None if state.buffers is None else buffers,
            moments=(trained.moments or {}) if state.moments else {},
            has_played=True,
        )
        return kept.to(torch.device("cpu"))


def pooled(clients: Clients) -> Clients:
    """One client with the samples of all, whose momentum stays from round to round."""
    indices = np.sort(clients.parts.indices)
    parts = Parts(indices, np.array([0, len(indices)]))
    return replace(clients, parts=parts, local=replace(clients.local, momentum_state="persist"))


class _LocalTraining:
    """The `train` that an algorithm is given: one client's local loop in one round."""

    def __init__(
        self,
        clients: Clients,
        client: int,
        round: int,
        sent: Sent,
        state: ClientState,
        alive: Callable[[], None],
        steps: int | None,
        dealt: Callable[[], Minibatches] | None,
    ) -> None:
        self._clients = clients
        self._client = client
        self._round = round
        self._sent = sent
        self._state = state
        self._alive = alive
        self._results: list[Trained] = []
        self._steps = steps
        self._dealt = dealt

    @property
    def of(self) -> LocalRound:
        return self._clients.local_round(self._client, self._round, self._steps)

    def __call__(
        self,
        w: Tensor,
        *,
        linear: Tensor | None = None,
        pull: float = 0.0,
        gradient: Oracle | None = None,
        factor: Callable[[int], float] | None = None,
        moving: Tensor | None = None,
        epochs: int = 0,
    ) -> Trained:
        clients = self._clients
        call = len(self._results)
        done = sum(trained.steps for trained in self._results)
        trained = clients.trainer(
            self._minibatches(call, epochs),
            clients.context(self._client, self._round, self._sent, self._state, done),
            clients.rate(self._round),
            w,
            momentum=self._state.momentum,
            moments=self._state.moments,
            linear=linear,
            pull=pull,
            gradient=gradient,
            factor=factor,
            moving=moving,
        )
        self._results.append(trained)
        return trained

    def _minibatches(self, call: int, epochs: int) -> Minibatches:
        if self._dealt is not None and call == 0 and not epochs:
            batches = self._dealt()
        else:
            batches = self._clients.batches(
                self._client, self._round, self._fewer(epochs), call, self._steps
            )
        for minibatch in batches:
            self._alive()
            yield minibatch

    def _fewer(self, epochs: int) -> int:
        """An algorithm's own number of passes, in proportion to the steps of this round."""
        if not epochs or self._steps is None:
            return epochs
        full = int(self._clients.steps(np.array([self._client]))[0])
        return max(1, math.ceil(epochs * self._steps / full))

    def result(self) -> Trained:
        """What the training ended in: of several calls the last one, with the steps of all."""
        if not self._results:
            name = type(self._clients.algorithm).__name__
            raise RuntimeError(f"{name}.client: expected it to call train(w); got no call")
        steps = sum(trained.steps for trained in self._results)
        return self._results[-1]._replace(steps=steps)
