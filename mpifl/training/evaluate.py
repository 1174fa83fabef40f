"""Evaluation of a weight vector on fixed sets of samples, in fixed batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mpifl.data.batches import Samples
from mpifl.losses.loss import Loss
from mpifl.net import Net
from mpifl.options import Count, Fraction, Named, NonNegativeInt, options
from mpifl.training.averages import AVERAGES, Average, NoAverage
from mpifl.training.messages import Model, Order
from mpifl.training.tallies import TRAIN, Counter, EvaluationSet


@options
class Evaluation:
    """When and where the server's weights are tested."""

    every: Count = 1
    """rounds between evaluations; the last round is always evaluated"""
    where: Literal["auto", "server", "all"] = "auto"
    """server: rank 0, while the others train; all: all ranks, before they train; auto: rank 0, and
    the others where they would wait for it, by measured times; the scores are the same to the bit
    """
    batch: Count = 500
    """samples in a batch of the test"""
    models: tuple[Literal["cohort", "all", "average"], ...] = ()
    """also test the mean of the round's local models (cohort), of every client's latest (all), or
    the server's second model (average: `average`, or an algorithm's own), with the server's
    BatchNorm buffers
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
    rows: Sequence[int] | None = None,
    forward: dict[str, Any] | None = None,
    alive: Callable[[], None] = lambda: None,
    counter: Counter | None = None,
) -> np.ndarray:
    """Each batch's summed cross-entropy and number right, float64 `[batches, 2]`, for the weights
    that the net has.

    With `rows`, only these batches are done and the other rows stay zero: adding up such parts
    gives the whole, to the bit. `forward` holds options of the forward pass; `alive` is called at
    each batch; a `counter` counts the same samples in the same pass.
    """
    batches = -(-len(samples) // batch)
    rows = range(batches) if rows is None else rows
    sums = torch.zeros(batches, 2, dtype=torch.float64, device=net.device)
    with torch.inference_mode():
        indices = torch.arange(len(samples), device=samples.labels.device)
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
    rows: Sequence[int] | None = None,
    forward: dict[str, Any] | None = None,
    alive: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """The counts (`Tally.flat`) of a set, or of some of its batches: parts add up to the whole.

    Options are those of `evaluate`.
    """
    counter = Counter(of, net.device)
    rows = range(-(-len(of) // batch)) if rows is None else rows
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
    rows: Sequence[int],
    forward: dict[str, Any] | None,
    alive: Callable[[], None],
) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """For each batch in `rows`: its number, its slice of `indices`, logits [B, K], labels [B]."""
    net.module.eval()
    for row in rows:
        alive()
        part = slice(row * batch, (row + 1) * batch)
        chosen = indices[part]
        x, y = samples.batch(chosen, net.device)
        with net.cast():
            logits = net(x, **(forward or {})).logits
        yield row, part, logits, y


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

    def score(self, model: Model) -> Score:
        """The score of a model."""
        self.net.load(*model)
        return self.total(self.loaded_rows())

    def total(self, rows: np.ndarray) -> Score:
        """The score from all rows."""
        return score(rows, len(self.samples))

    def loaded_rows(
        self, rows: Sequence[int] | None = None, counter: Counter | None = None
    ) -> np.ndarray:
        """The rows of `evaluate` of the weights that the net has."""
        forward = self.loss.evaluated(self.net.module)
        return evaluate(self.net, self.samples, self.batch, rows, forward, self.alive, counter)

    def loaded_counts(self, of: EvaluationSet, rows: Sequence[int] | None = None) -> np.ndarray:
        """The counts (`Tally.flat`) on a set of the weights that the net has."""
        forward = self.loss.evaluated(self.net.module)
        return count(self.net, of, self.batch, rows, forward, self.alive)
