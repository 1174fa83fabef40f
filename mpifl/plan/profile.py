"""Measure how long a local step and a test take here, and what a step keeps in memory."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from mpifl.net import digest
from mpifl.parallel.exact_sum import WeightedSum, layout_of
from mpifl.plan.dry_run import DryRun
from mpifl.training.algorithm import ServerRound
from mpifl.training.client import Task, play
from mpifl.training.evaluate import evaluate
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Reply

_REPEATS = 3
_SECONDS = 0.1  # for timing the steps, unless a single step takes longer
_MOST_STEPS = 20
_MOST_CLIENTS = 8  # a worker prepares the batches of small clients together, so they are timed so
_WARM_UP = 4  # steps; with the first ones, those that repeat are recorded


class Profile(NamedTuple):
    """What was measured, in seconds and bytes."""

    batch: int
    """samples in a step"""
    step: float
    """seconds of a step"""
    client: float
    """seconds of a client's round without its steps: loading its weights, adding its reply"""
    evaluation: float
    """seconds of one batch of the test"""
    activations: int
    """bytes that a step keeps for its backward pass, without parameters"""
    server: float = 0.0
    """seconds of the server's own work in a round: drawing the cohort, its step, the digest"""


def measure(planned: DryRun) -> Profile:
    """Play the trial's client for a few steps, and test one batch."""
    trial = planned.trial
    player = _Player(planned)
    net = trial.clients.net
    saved = SavedForBackward(net.weights, net.frozen)
    with saved:
        player.play(1)
    player.play(_WARM_UP)
    player.clients_together = _up_to(_MOST_CLIENTS, player.play(1))
    more = _up_to(_MOST_STEPS, player.play(1) * player.clients_together)
    # the minimum, because other work on the machine only adds
    few = min(player.play(1) for _ in range(_REPEATS))
    many = min(player.play(1 + more) for _ in range(_REPEATS))
    step = (many - few) / more if many > few else many / (1 + more)
    batch = min(planned.config.local.batch, len(trial.clients.samples))
    tested = _evaluation(trial)
    server = min(player.serve(planned) for _ in range(_REPEATS))
    return Profile(batch, step, max(0.0, few - step), tested, saved.peak, server)


def _up_to(most: int, seconds: float) -> int:
    """How often to do what takes so many seconds, for one measurement: at least once."""
    return int(min(most, max(1, _SECONDS / _REPEATS / seconds)))


class _Player:
    """One client's round, as a worker does it."""

    clients_together = 1
    """how many clients are played for one measurement"""

    def __init__(self, planned: DryRun) -> None:
        self._clients = planned.trial.clients
        self._sent = planned.sent
        # Like a client that has played before: MOON then also runs two frozen models.
        self._state = replace(planned.state, has_played=True)
        self._sums = WeightedSum(self._sent.vectors(), layout_of(planned.reply.flat()))

    def play(self, steps: int) -> float:
        """Seconds of a client's round with `steps` steps."""
        clients = self._clients
        count = self.clients_together
        began = time.perf_counter()
        replies = []
        for dealt in clients.minibatches([0] * count, 1, [steps] * count):
            played = play(clients, Task(0, 1, self._sent, self._state, steps, dealt))
            replies.append(played.reply.flat())
        at_once = self._sums.at_once(played.reply.elements())
        for start in range(0, count, at_once):
            some = replies[start : start + at_once]
            self._sums.add_each(some, [1.0] * len(some))
        return (time.perf_counter() - began) / count

    def serve(self, planned: DryRun) -> float:
        """Seconds of what the server does between two rounds, from a sum of replies on."""
        clients = self._clients
        w = clients.net.weights.cpu()
        remembered = planned.server
        began = time.perf_counter()
        planned.timetable.turn(1)
        mean = Reply.from_flat(self._sums.total())
        of = ServerRound(1, clients.rounds, clients.rate(1), clients.rate(1), 1, 1.0)
        w, _ = clients.algorithm.server(w, remembered, mean.algorithm, of)
        digest(w, mean.buffers)
        return time.perf_counter() - began


def _evaluation(trial: Experiment) -> float:
    """Seconds of one batch of the test."""
    forward = trial.clients.loss.evaluated(trial.clients.net.module)
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        evaluate(trial.clients.net, trial.test, trial.evaluation.batch, forward=forward)
        times.append(time.perf_counter() - began)
    return min(times)


class SavedForBackward(saved_tensors_hooks):
    """A context that counts the bytes kept for backward passes; `peak` is the most of one graph.

    Views of `vectors` do not count. A storage that several operations keep counts once.
    """

    def __init__(self, *vectors: Tensor) -> None:
        super().__init__(self._saved, self._used)
        self.peak = 0
        self._known = {vector.untyped_storage().data_ptr() for vector in vectors}
        self._storages: dict[int, int] = {}
        self._backward = False

    def _saved(self, tensor: Tensor) -> Tensor:
        if self._backward:  # a new graph begins
            self._storages = {}
            self._backward = False
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._storages[storage.data_ptr()] = storage.nbytes()
            self.peak = max(self.peak, sum(self._storages.values()))
        return tensor

    def _used(self, tensor: Tensor) -> Tensor:
        self._backward = True
        return tensor


class Resident(NamedTuple):
    """The memory of this process in bytes, without that of GPUs; 0 if the system does not tell."""

    now: int = 0
    peak: int = 0


def resident() -> Resident:
    """The memory of this process."""
    try:
        with open("/proc/self/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        return Resident(_bytes(fields["VmRSS"]), _bytes(fields["VmHWM"]))
    except (OSError, KeyError, ValueError):
        return Resident()


def _bytes(field: str) -> int:
    """The bytes of a field such as `123 kB`."""
    return int(field.split()[0]) * 1024


def on_gpu(device: torch.device) -> int:
    """The most bytes that tensors have taken on `device`; 0 for the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
