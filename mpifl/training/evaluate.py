"""Loss and accuracy of a weight vector on a fixed split, in fixed batches that ranks may share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mpifl.data.batches import Samples
from mpifl.losses.loss import Loss
from mpifl.net import Net
from mpifl.options import Count, Fraction, options
from mpifl.training.messages import Sent

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator


@options
class Evaluation:
    """When and where the server's weights are tested."""

    every: Count = 1
    """rounds between evaluations; the last round is always evaluated"""
    where: Literal["server", "shared"] = "server"
    """server: rank 0, while the others train; shared: all ranks, before they train"""
    batch: Count = 500
    """samples in a batch of the test"""
    models: tuple[Literal["cohort", "all"], ...] = ()
    """also test the mean of the round's local models (cohort), of every client's latest (all), with
    the server's BatchNorm buffers; for where = server"""
    clients: bool = False
    """also test each client's own model after its training"""
    target_accuracy: Fraction = 0.0
    """stop once the test accuracy reaches this (with the round then under way); 0: never"""

    def batches(self, samples: int) -> int:
        """How many batches the test of `samples` takes."""
        return -(-samples // self.batch)

    def reached(self, figures: Mapping[str, np.ndarray]) -> int:
        """The first round that reached the target accuracy, of a run's `round` and `test_accuracy`;
        0 for none. Rounds that were evaluated only because the run ended with them do not count.
        """
        if not self.target_accuracy or "test_accuracy" not in figures:
            return 0
        rounds = figures["round"]
        is_due = rounds % self.every == 0
        is_reached = figures["test_accuracy"] >= self.target_accuracy
        hits = rounds[is_due & is_reached]
        return int(hits[0]) if len(hits) else 0


NO_SCORES = np.zeros((0, 2))
"""the rows of no test"""


class Score(NamedTuple):
    """Mean cross-entropy and share classified right."""

    loss: float
    accuracy: float


def evaluate(
    net: Net,
    samples: Samples,
    batch: int,
    share: int = 0,
    shares: int = 1,
    forward: dict[str, Any] | None = None,
    alive: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Each batch's summed cross-entropy and number right, float64 `[batches, 2]`, for the weights
    that the net has.

    With several `shares`, every `shares`-th batch from `share` on is done and the other rows stay
    zero: adding the shares gives the whole, to the bit. `forward` holds options of the forward
    pass; `alive` is called at each batch.
    """
    net.module.eval()
    starts = range(0, len(samples), batch)
    sums = torch.zeros(len(starts), 2, dtype=torch.float64, device=net.device)
    with torch.inference_mode():
        for row in range(share, len(starts), shares):
            alive()
            start = starts[row]
            stop = min(start + batch, len(samples))
            indices = torch.arange(start, stop, device=net.device)
            logits = net(samples.pick(indices), **(forward or {})).logits
            y = samples.labels[indices]
            sums[row, 0] = _cross_entropy(logits, y)
            sums[row, 1] = (logits.argmax(-1) == y).sum()
    return sums.cpu().numpy()


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(logits.double(), y, reduction="sum")


def score(sums: np.ndarray, samples: int) -> Score:
    """The whole split's score from the rows of `evaluate`, added in their order."""
    loss, right = np.add.reduce(sums, axis=0)
    return Score(float(loss) / samples, float(right) / samples)


@dataclass(frozen=True)
class Tester:
    """Tests weight vectors on one split, on one net."""

    net: Net
    samples: Samples
    batch: int
    loss: Loss
    """only for what it changes in the forward pass"""
    alive: Callable[[], None]

    def rows(self, w: Tensor, buffers: Tensor, share: int = 0, shares: int = 1) -> np.ndarray:
        """The rows of `evaluate` of weights `w [d]` and `buffers [b]`."""
        self.net.load(w, buffers)
        return self._rows(share, shares)

    def score(self, w: Tensor) -> Score:
        """The score of `w [d]`, with the buffers that the net has."""
        self.net.load(w)
        return self.total(self._rows())

    def total(self, rows: np.ndarray) -> Score:
        """The score from all rows."""
        return score(rows, len(self.samples))

    def _rows(self, share: int = 0, shares: int = 1) -> np.ndarray:
        forward = self.loss.evaluated(self.net.module)
        return evaluate(self.net, self.samples, self.batch, share, shares, forward, self.alive)


class Evaluator:
    """Tests the server's weights: on rank 0 while the others train, or on all ranks together."""

    def __init__(
        self,
        net: Net,
        samples: Samples,
        evaluation: Evaluation,
        loss: Loss,
        communicator: Communicator,
    ) -> None:
        self.tester = Tester(net, samples, evaluation.batch, loss, communicator.heartbeat.poll)
        self.is_shared = evaluation.where == "shared" and communicator.size > 1
        self.seconds = 0.0
        """that the last test took on this rank, of all models that are tested"""
        self._models = 1 + len(evaluation.models)
        self._communicator = communicator

    def whole(self, sent: Sent) -> np.ndarray:
        """The rows of the whole test, on the server, if the order asks for it; else NO_SCORES."""
        if not sent.order.evaluate:
            return NO_SCORES
        if self.is_shared:
            return self._communicator.everywhere(self.share(sent))
        if self._communicator.is_server:
            return self._rows(sent)
        return NO_SCORES

    def share(self, sent: Sent) -> np.ndarray:
        """This rank's rows of the test, the others' rows zero, if the order asks for it."""
        if not sent.order.evaluate:
            return NO_SCORES
        return self._rows(sent, self._communicator.rank, self._communicator.size)

    def _rows(self, sent: Sent, share: int = 0, shares: int = 1) -> np.ndarray:
        began = time.perf_counter()
        rows = self.tester.rows(*sent.model, share, shares)
        self.seconds = self._models * (time.perf_counter() - began)
        return rows
