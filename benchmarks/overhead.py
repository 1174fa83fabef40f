"""A whole round of mpifl against the bare loop of its local steps: the cost of all that is not
training.

Ours is a run on one rank with all that a user's run has: cohort, random streams, order-free sum,
server optimizer, SHA-256 of each round's weights, a store on disk; only the test is left out. The
other is `bare.Bare`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

from benchmarks import bare, workloads
from benchmarks.pairs import Pairs, Stopwatch
from benchmarks.report import Row
from mpifl.parallel.communicator import Communicator
from mpifl.runner.callbacks import StoreWriter
from mpifl.store import Store
from mpifl.training import rounds
from mpifl.training.callback import Callback
from mpifl.training.client import Task, play
from mpifl.training.client_states import ClientState
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Sent
from mpifl.training.progress import Progress


class Interleaved(Callback):
    """Records each finished round; then times a bare round of as many steps, and starts the next
    lap.
    """

    def __init__(self, recorder: StoreWriter, other: bare.Bare) -> None:
        self.recorder = recorder
        self.other = other
        self.pairs = Pairs()
        self.watch = Stopwatch()

    def round_finished(self, progress: Progress, last: bool) -> None:
        self.recorder.round_finished(progress, last)
        # The first report comes during round 2, and the last one soon after it: neither is the time
        # of one round.
        ours = self.watch.lap()
        measured = progress.round > 1 and not last
        batches = [self.other.batches(client, progress.round) for client in progress.cohort]
        self.watch.lap()
        for each in batches:
            self.other.play(progress.w, each)
        if measured:
            self.pairs.ours.append(ours)
            self.pairs.other.append(self.watch.lap())
        self.watch.lap()


def compare(raw: dict, module: nn.Module, measured: int) -> Pairs:
    """Rounds of the workload `raw` against bare ones on `module`, in turn."""
    x = workloads.experiment(raw, measured + 2)
    other = bare.Bare(module, x.clients)
    _refuse_different_work(x, other)
    with tempfile.TemporaryDirectory() as folder:
        callback = Interleaved(
            StoreWriter(_store(Path(folder) / "run", x), x, range(0, x.rounds + 1, 10)), other
        )
        rounds.run(x, Communicator(), [callback])
    return callback.pairs


def _store(folder: Path, x: Experiment) -> Store:
    partition = (x.clients.parts.indices, x.clients.parts.offsets, x.clients.counts())
    return Store.create(
        folder,
        config="",
        seed=x.seed,
        layout=x.clients.net.layout,
        clients=len(x.clients),
        partition=partition,
        provenance={},
    )


def _refuse_different_work(x: Experiment, other: bare.Bare) -> None:
    w = x.clients.net.weights.clone()
    sent = Sent({"w": w}, x.clients.net.buffers.clone())
    ours = play(x.clients, Task(0, 1, sent, ClientState({}))).reply.algorithm["w"]
    other.play(w, other.batches(0, 1))
    if not torch.equal(ours, other.weights):
        raise AssertionError(
            "the bare loop ended in other weights than mpifl: they did not do the same work"
        )


def overhead() -> list[Row]:
    """many small clients: a whole round against the bare loop of its 250 local steps; the overhead
    must stay under 5 %
    """
    pairs = compare(workloads.MANY_CLIENTS, bare.pfl_cnn(), 8)
    return [Row.of("round / bare steps", pairs, bar=1.05)]


def small() -> list[Row]:
    """very little arithmetic: a round of 64 clients of one step against the bare loop"""
    return [Row.of("round / bare steps", compare(workloads.TINY_STEPS, bare.mlp(), 300), bar=1.6)]
