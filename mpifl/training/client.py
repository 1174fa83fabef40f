"""A worker plays one client: its data, its random streams and its state go in; a reply, a state
and a row of figures come out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpifl.data.batches import Minibatches
from mpifl.losses.step import ClientRound
from mpifl.training.algorithm import LocalRound, check_vectors
from mpifl.training.client_rows import COLUMNS, Column
from mpifl.training.client_states import ClientState
from mpifl.training.clients import Clients
from mpifl.training.gradients import Oracle
from mpifl.training.local import Trained
from mpifl.training.messages import Model, Reply, Sent, Vectors

_UNTESTED = np.zeros(len(COLUMNS))
"""float64 [Column]: the row of a client that is not tested"""
_UNTESTED[[Column.TEST_ACCURACY, Column.OWN_RIGHT_BEFORE, Column.OWN_RIGHT_AFTER]] = np.nan


def _nothing() -> None:
    pass


class Task(NamedTuple):
    """What one client has to do in a round."""

    client: int
    round: int
    sent: Sent
    """on the net's device"""
    state: ClientState
    steps: int | None = None
    """how many minibatches it trains on; None: as many as `local` says"""
    dealt: Callable[[], Minibatches] | None = None
    """gives these minibatches, one of `Clients.minibatches`; None: they are yet to be made"""
    alive: Callable[[], None] = _nothing
    """called at each minibatch"""


class Played(NamedTuple):
    """What playing one client ended in."""

    reply: Reply
    state: ClientState
    """on the host"""
    row: np.ndarray
    """float64 [Column]; the weight is the caller's to fill in"""
    model: Model
    """its own, after training"""
    replayed: int
    """how many of its steps were recorded ones"""


def play(clients: Clients, task: Task) -> Played:
    """One client's round. Raises RuntimeError for an algorithm that does not train."""
    began = time.perf_counter()
    net = clients.net
    algorithm = clients.algorithm
    sent = task.sent
    state = task.state.to(net.device)
    if sent.buffers.numel():
        net.buffers.copy_(clients.buffers_at_start(sent, state))
    training = _LocalTraining(clients, task, state)
    reply, remembered = algorithm.client(sent.algorithm, state.algorithm, training)
    trained = training.result()
    weights = algorithm.model(trained.y, remembered)
    where = f"{type(algorithm).__name__}.client"
    check_vectors(f"{where}, its reply", reply)
    check_vectors(f"{where}, what it remembers", remembered, like=state.algorithm)
    row = _UNTESTED.copy()
    row[Column.SAMPLES] = clients.sizes[task.client]
    row[Column.STEPS] = trained.steps
    row[Column.LOSS] = trained.loss
    row[Column.ACCURACY] = trained.accuracy
    row[Column.SECONDS] = time.perf_counter() - began
    model = Model(weights, net.buffers.clone())
    return Played(
        Reply(reply, clients.buffers.encode(net.buffers), _means(clients, weights, state)),
        _next_state(remembered, model, trained, state),
        row,
        model,
        trained.replayed,
    )


def _means(clients: Clients, weights: Tensor, state: ClientState) -> Vectors:
    """The client's part of each mean of local models that the server wants."""
    means = {}
    if "cohort" in clients.means:
        means["cohort"] = weights
    if state.latest is not None:
        means["all"] = weights - state.latest
    return means


def _next_state(
    remembered: Vectors, model: Model, trained: Trained, before: ClientState
) -> ClientState:
    """What the client keeps from now on: as much as it kept before."""
    if not before.keeps_anything:
        return before
    kept = ClientState(
        algorithm=remembered,
        momentum=None if before.momentum is None else trained.momentum,
        previous=None if before.previous is None else model,
        latest=None if before.latest is None else model.weights,
        buffers=None if before.buffers is None else model.buffers,
        moments=(trained.moments or {}) if before.moments else {},
        has_played=True,
    )
    return kept.to(torch.device("cpu"))


class _LocalTraining:
    """The `train` that an algorithm is given: one client's local loop in one round."""

    def __init__(self, clients: Clients, task: Task, state: ClientState) -> None:
        self._clients = clients
        self._task = task
        self._state = state  # on the net's device
        self._results: list[Trained] = []

    @property
    def of(self) -> LocalRound:
        return self._clients.local_round(self._task.client, self._task.round, self._task.steps)

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
        state = self._state
        trained = self._clients.trainer(
            self._minibatches(epochs, call=len(self._results)),
            self._context(),
            self._clients.rate(self._task.round),
            w,
            momentum=state.momentum,
            moments=state.moments,
            linear=linear,
            pull=pull,
            gradient=gradient,
            factor=factor,
            moving=moving,
        )
        self._results.append(trained)
        return trained

    def result(self) -> Trained:
        """What the training ended in: of several calls the last one, with the steps of all."""
        if not self._results:
            name = type(self._clients.algorithm).__name__
            raise RuntimeError(f"{name}.client: expected it to call train(w); got no call")
        if len(self._results) == 1:
            return self._results[0]
        replayed = sum(trained.replayed for trained in self._results)
        return self._results[-1]._replace(steps=self._done(), replayed=replayed)

    def _done(self) -> int:
        """How many steps are taken."""
        return sum(trained.steps for trained in self._results)

    def _context(self) -> ClientRound:
        """What losses may know of the client's round."""
        clients = self._clients
        task = self._task
        state = self._state
        begin = task.sent.start
        if clients.algorithm.personal:
            begin = clients.start(task.sent, state)
        return ClientRound(
            seed=clients.seed,
            client=task.client,
            round=task.round,
            classes=clients.classes,
            labels=clients.labels[clients.parts[task.client]],
            sent=begin,
            previous=state.previous if state.has_played else None,
            initial=None if state.has_played else state.previous,
            rounds=clients.rounds,
            vectors=task.sent.algorithm,
            done=self._done(),
        )

    def _minibatches(self, epochs: int, call: int) -> Minibatches:
        task = self._task
        if task.dealt is not None and call == 0 and not epochs:
            batches = task.dealt()
        else:
            epochs = self._fewer(epochs)
            batches = self._clients.batches(task.client, task.round, epochs, call, task.steps)
        for minibatch in batches:
            task.alive()
            yield minibatch

    def _fewer(self, epochs: int) -> int:
        """An algorithm's own number of passes, in proportion to the steps of this round."""
        steps = self._task.steps
        if not epochs or steps is None:
            return epochs
        full = int(self._clients.steps(np.array([self._task.client]))[0])
        return max(1, math.ceil(epochs * steps / full))
