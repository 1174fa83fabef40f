"""Evaluation of a weight vector on fixed sets of samples, in fixed batches that ranks may share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mpifl.data.batches import Samples
from mpifl.losses.loss import Loss
from mpifl.net import Net
from mpifl.options import Count, Fraction, Named, NonNegativeInt, options
from mpifl.parallel.heartbeat import Abandoned
from mpifl.training.averages import AVERAGES, Average, NoAverage
from mpifl.training.messages import Order, Sent
from mpifl.training.tallies import TRAIN, Counter, EvaluationSet, length

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
    models: tuple[Literal["cohort", "all", "average"], ...] = ()
    """also test the mean of the round's local models (cohort), of every client's latest (all), or
    the server's second model (average: `average`, or an algorithm's own), with the server's
    BatchNorm buffers; for where = server
    """
    average: Annotated[Average, Named(AVERAGES, "none")] = NoAverage()
    """a running mean of the server's models"""
    clients: bool = False
    """also test each client's own model after its training; and with a `holdout` the models before
    and after on the client's own test set
    """
    train_every: NonNegativeInt = 0
    """rounds between evaluations on the training samples too (a multiple of `every`), for the gap
    to the test set; then the last round has one; 0: none
    """
    train_samples: NonNegativeInt = 0
    """on so many training samples, each class keeping its share; 0: on all"""
    target_accuracy: Fraction = 0.0
    """stop once the test accuracy reaches this (with the round then under way); 0: never"""

    def batches(self, samples: int) -> int:
        """How many batches the test of `samples` takes."""
        return -(-samples // self.batch)

    def trains_due(self, round: int, last: bool) -> bool:
        """Whether an evaluation in `round` is on the training samples too."""
        return self.train_every > 0 and (last or round % self.train_every == 0)

    def due(self, sets: Sequence[EvaluationSet], order: Order) -> list[EvaluationSet]:
        """The sets that are evaluated after the order's round."""
        with_training = self.trains_due(order.round, order.finishes)
        return [of for of in sets if with_training or of.name != TRAIN]

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


Scores = dict[str, np.ndarray]
"""what an evaluation has found: `rows` [batches, 2] of the test, and each set's counts by its name
(int64, viewed as float64: ranks gather both in one sum of bit patterns)
"""
NO_SCORES: Scores = {}
"""those of no evaluation"""
ROWS = "rows"


class Share(NamedTuple):
    """What one rank has of an evaluation."""

    scores: Scores
    """all zero outside the rank's part"""
    is_abandoned: bool = False
    """whether the rank has left it, because a stop was asked for: then the scores mean nothing"""


NO_SHARE = Share(NO_SCORES)


def lacks_test(figures: Mapping[str, np.ndarray], round: int) -> bool:
    """Whether `round` is the last one in a run's figures, and its weights were not tested."""
    if not len(figures["round"]) or figures["round"][-1] != round:
        return False
    accuracy = figures.get("test_accuracy")
    return accuracy is None or bool(np.isnan(accuracy[-1]))


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
    counter: Counter | None = None,
) -> np.ndarray:
    """Each batch's summed cross-entropy and number right, float64 `[batches, 2]`, for the weights
    that the net has.

    With several `shares`, every `shares`-th batch from `share` on is done and the other rows stay
    zero: adding the shares gives the whole, to the bit. `forward` holds options of the forward
    pass; `alive` is called at each batch; a `counter` counts the same samples in the same pass.
    """
    batches = -(-len(samples) // batch)
    sums = torch.zeros(batches, 2, dtype=torch.float64, device=net.device)
    with torch.inference_mode():
        indices = torch.arange(len(samples), device=samples.labels.device)
        rows = range(share, batches, shares)
        outputs = _outputs(net, samples, indices, batch, rows, forward, alive)
        for row, place, logits, y in outputs:
            sums[row, 0] = _cross_entropy(logits, y)
            sums[row, 1] = (logits.argmax(-1) == y).sum()
            if counter is not None:
                counter.add(logits, y, *counter.of.groups(place, net.device))
    return sums.cpu().numpy()


def count(
    net: Net,
    of: EvaluationSet,
    batch: int,
    share: int = 0,
    shares: int = 1,
    forward: dict[str, Any] | None = None,
    alive: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """The counts (`Tally.flat`) of a set, or of a share of its batches: shares add up to the whole.

    Options are those of `evaluate`.
    """
    counter = Counter(of, net.device)
    rows = range(share, -(-len(of) // batch), shares)
    with torch.inference_mode():
        outputs = _outputs(net, of.samples, of.indices, batch, rows, forward, alive)
        for _, place, logits, y in outputs:
            counter.add(logits, y, *of.groups(place, net.device))
    return counter.counts()


def _outputs(
    net: Net,
    samples: Samples,
    indices: Tensor,
    batch: int,
    rows: range,
    forward: dict[str, Any] | None,
    alive: Callable[[], None],
) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """For each batch in `rows`: its number, its slice of `indices`, logits [B, K], labels [B]."""
    net.module.eval()
    for row in rows:
        alive()
        part = slice(row * batch, (row + 1) * batch)
        chosen = indices[part]
        x = samples.pick(chosen).to(net.device)
        logits = net(x, **(forward or {})).logits
        yield row, part, logits, samples.labels[chosen].to(net.device)


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

    def score(self, w: Tensor) -> Score:
        """The score of `w [d]`, with the buffers that the net has."""
        self.net.load(w)
        return self.total(self.loaded_rows())

    def total(self, rows: np.ndarray) -> Score:
        """The score from all rows."""
        return score(rows, len(self.samples))

    def loaded_rows(
        self, share: int = 0, shares: int = 1, counter: Counter | None = None
    ) -> np.ndarray:
        """The rows of `evaluate` of the weights that the net has."""
        forward = self.loss.evaluated(self.net.module)
        return evaluate(
            self.net, self.samples, self.batch, share, shares, forward, self.alive, counter
        )

    def loaded_counts(self, of: EvaluationSet, share: int = 0, shares: int = 1) -> np.ndarray:
        """The counts (`Tally.flat`) on a set of the weights that the net has."""
        forward = self.loss.evaluated(self.net.module)
        return count(self.net, of, self.batch, share, shares, forward, self.alive)


class Evaluator:
    """Evaluates the server's weights: on rank 0 while the others train, or on all ranks together.

    An evaluation that outlasts the grace period of a stop is abandoned; then it has no scores.
    `sets` are those of an experiment, the test first.
    """

    def __init__(
        self,
        net: Net,
        sets: Sequence[EvaluationSet],
        evaluation: Evaluation,
        loss: Loss,
        communicator: Communicator,
    ) -> None:
        alive = communicator.heartbeat.poll_in_round
        self.tester = Tester(net, sets[0].samples, evaluation.batch, loss, alive)
        self.is_shared = evaluation.where == "shared" and communicator.size > 1
        self._sets = sets
        self._evaluation = evaluation
        self.seconds = 0.0
        """that the last test took on this rank, of all models that are tested"""
        self._models = 1 + len(evaluation.models)
        self._communicator = communicator

    def whole(self, sent: Sent) -> Scores:
        """The whole evaluation, on the server, if the order asks for it; else NO_SCORES."""
        if not sent.order.evaluate:
            return NO_SCORES
        if self.is_shared:
            return gathered(self.share(sent), self._communicator)
        if self._communicator.is_server:
            own = self._evaluate(sent, 0, 1)
            return NO_SCORES if own.is_abandoned else own.scores
        return NO_SCORES

    def share(self, sent: Sent) -> Share:
        """This rank's part of the evaluation, if the order asks for it."""
        if not sent.order.evaluate:
            return NO_SHARE
        return self._evaluate(sent, self._communicator.rank, self._communicator.size)

    def _evaluate(self, sent: Sent, share: int, shares: int) -> Share:
        began = time.perf_counter()
        self.tester.net.load(*sent.model)
        due = self._evaluation.due(self._sets, sent.order)
        try:
            scores = self._scores(due, share, shares)
        except Abandoned:
            return Share(self._zeros(due), is_abandoned=True)
        self.seconds = self._models * (time.perf_counter() - began)
        return Share(scores)

    def _scores(self, due: Sequence[EvaluationSet], share: int, shares: int) -> Scores:
        """On the sets that are due, the test first, of the weights that the net has."""
        tester = self.tester
        test, *others = due
        counter = Counter(test, tester.net.device)
        scores = {ROWS: tester.loaded_rows(share, shares, counter)}
        scores[test.name] = counter.counts().view(np.float64)
        for of in others:
            scores[of.name] = tester.loaded_counts(of, share, shares).view(np.float64)
        return scores

    def _zeros(self, due: Sequence[EvaluationSet]) -> Scores:
        """In the place of scores: the ranks gather arrays of the same shapes."""
        scores: Scores = {ROWS: np.zeros((self._evaluation.batches(len(self.tester.samples)), 2))}
        for of in due:
            scores[of.name] = np.zeros(length(of.clients, of.classes))
        return scores


def gathered(share: Share, communicator: Communicator) -> Scores:
    """The scores of all ranks' shares, on every rank; none if a rank has abandoned its own."""
    abandoned = np.zeros(communicator.size, np.int64)
    abandoned[communicator.rank] = share.is_abandoned
    abandoned = communicator.everywhere(abandoned)
    if abandoned.any():
        communicator.heartbeat.stop(f"a signal to rank {abandoned.argmax()}")
        return NO_SCORES
    whole = {}
    for name, own in share.scores.items():
        whole[name] = communicator.everywhere(_countable(name, own))
    return {name: values.view(np.float64) for name, values in whole.items()}


def _countable(name: str, values: np.ndarray) -> np.ndarray:
    """Scores as numbers that may be added: counts are integers."""
    return values if name == ROWS else values.view(np.int64)
