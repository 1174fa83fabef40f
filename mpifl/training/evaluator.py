"""Evaluation of the server's models in a run: by rank 0 while the others train, or by all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from mpifl.parallel.heartbeat import Abandoned
from mpifl.training.dealing import Costs, deal, units_of_work
from mpifl.training.evaluate import Tester
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Order, Sent, Vectors
from mpifl.training.sampling import RoundPlan
from mpifl.training.tallies import Counter, EvaluationSet, length
from mpifl.training.timeline import Kind, Stopwatch

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator

Scores = dict[str, np.ndarray]
"""what an evaluation has found: `rows` [batches, 2] of the test, those of means of models, and each
set's counts by its name (int64, viewed as float64: ranks gather both in one sum of bit patterns)
"""
NO_SCORES: Scores = {}
"""those of no evaluation"""
ROWS = "rows"


def rows_of(mean: str) -> str:
    """The name of the rows of a mean of models among the scores."""
    return f"{ROWS} of {mean}"


class Share(NamedTuple):
    """What one rank has of an evaluation."""

    scores: Scores
    """all zero outside the rank's part"""
    is_abandoned: bool = False
    """whether the rank has left it, because a stop was asked for: then the scores mean nothing"""
    is_whole: bool = False
    """whether the server does all of it; the other ranks then have no scores"""


NO_SHARE = Share(NO_SCORES, is_whole=True)


class Part(NamedTuple):
    """A model, and the set that it is evaluated on."""

    mean: str
    """the name of a mean of models; empty for the server's own model"""
    of: EvaluationSet


class Evaluator:
    """Evaluates the server's model and means of models, on ranks that have time for it.

    Batches are dealt to ranks as `evaluation.where` says. Every batch has the same counts on
    every rank. An evaluation that outlasts the grace period of a stop is abandoned; then it has no
    scores.
    """

    def __init__(
        self, experiment: Experiment, communicator: Communicator, stopwatch: Stopwatch
    ) -> None:
        clients = experiment.clients
        self._clients = clients
        self._evaluation = experiment.evaluation
        self._sets = experiment.sets
        self.tester = Tester(
            clients.net,
            experiment.sets[0].samples,
            self._evaluation.batch,
            clients.loss,
            communicator.heartbeat.poll_in_round,
        )
        self._samples_ratio = self._evaluation.batch / clients.local.batch
        self._communicator = communicator
        self._stopwatch = stopwatch

    def expected(self, order: Order, costs: Costs) -> float:
        """Seconds of the whole evaluation after a round, on all ranks that do it; 0 if unknown."""
        if not np.isfinite(costs.batch).any():
            return 0.0
        seconds = costs.filled(self._samples_ratio).batch
        owners = self._deal(self._count(self._parts(order)), costs, None)
        return float((np.bincount(owners, minlength=len(seconds)) * seconds).max())

    def whole(self, sent: Sent, means: Vectors) -> Scores:
        """The whole evaluation, if the order asks for it; else, and elsewhere, NO_SCORES.

        `means` are the server's; other ranks have none.
        """
        share = self.share(sent, None, means)
        return gathered(share, self._communicator, self._stopwatch)

    def share(self, sent: Sent, plan: RoundPlan | None, means: Vectors) -> Share:
        """This rank's part of the evaluation, if the order asks for it; else NO_SHARE.

        The clients of the `plan` train after it. With none, the ranks have nothing else to do.
        """
        if not sent.order.evaluate:
            return NO_SHARE
        parts = self._parts(sent.order)
        owners = self._deal(self._count(parts), _costs(sent, self._communicator.size), plan)
        places = np.split(owners, np.cumsum([self._batches(part) for part in parts])[:-1])
        is_whole = not owners.any()
        if is_whole and not self._communicator.is_server:
            return NO_SHARE
        if not is_whole:
            means = self._sent_means(parts, places, sent, means)
        own = [np.flatnonzero(place == self._communicator.rank) for place in places]
        try:
            with self._stopwatch.spending(Kind.TEST):
                scores = self._scores(parts, own, sent, means)
        except Abandoned:
            scores = NO_SCORES if is_whole else self._zeros(parts)
            return Share(scores, is_abandoned=True, is_whole=is_whole)
        self._stopwatch.batches += sum(len(rows) for rows in own)
        return Share(scores, is_whole=is_whole)

    def _parts(self, order: Order) -> list[Part]:
        """What is evaluated after the order's round, the server's model on the test set first."""
        due = self._evaluation.due(self._sets, order)
        parts = [Part("", of) for of in due]
        for mean, is_there in zip(self._clients.means, order.means, strict=True):
            if is_there:
                parts.append(Part(mean, self._sets[0]))
        return parts

    def _batches(self, part: Part) -> int:
        return self._evaluation.batches(len(part.of))

    def _count(self, parts: Sequence[Part]) -> int:
        """How many batches all parts have."""
        return sum(self._batches(part) for part in parts)

    def _deal(self, batches: int, costs: Costs, plan: RoundPlan | None) -> np.ndarray:
        """The rank of each batch, int64 [batches]; the higher ranks come first."""
        where = self._evaluation.where
        ranks = self._communicator.size
        if where == "server" or ranks == 1:
            return np.zeros(batches, dtype=np.int64)
        known = costs.filled(self._samples_ratio)
        loads = np.zeros(ranks)
        if where == "auto" and plan is not None:
            loads = units_of_work(plan, ranks) * known.work
        return deal(batches, loads, known.batch)

    def _sent_means(
        self, parts: Sequence[Part], places: Sequence[np.ndarray], sent: Sent, means: Vectors
    ) -> Vectors:
        """The means, with those on every rank that others than the server evaluate."""
        message = {}
        for part, owners in zip(parts, places, strict=True):
            if part.mean and owners.any():
                message[part.mean] = means.get(part.mean, sent.algorithm["w"])
        if not message:
            return means
        with self._stopwatch.spending(Kind.WAIT):
            return means | self._communicator.broadcast(message)

    def _scores(
        self, parts: Sequence[Part], own: Sequence[np.ndarray], sent: Sent, means: Vectors
    ) -> Scores:
        """Those of the batches `own` of each part."""
        self.tester.net.load(*sent.model)
        scores: Scores = {}
        for part, rows in zip(parts, own, strict=True):
            if part.mean:
                scores[rows_of(part.mean)] = self._rows_of_mean(means.get(part.mean), rows)
            elif part.of is self._sets[0]:
                counter = Counter(part.of, self.tester.net.device)
                scores[ROWS] = self.tester.loaded_rows(rows.tolist(), counter)
                scores[part.of.name] = counter.counts().view(np.float64)
            else:
                counts = self.tester.loaded_counts(part.of, rows.tolist())
                scores[part.of.name] = counts.view(np.float64)
        return scores

    def _rows_of_mean(self, w: Tensor | None, rows: np.ndarray) -> np.ndarray:
        """Those of a mean of models, with the buffers that the net has."""
        if len(rows):
            assert w is not None
            self.tester.net.load(w)
        return self.tester.loaded_rows(rows.tolist())

    def _zeros(self, parts: Sequence[Part]) -> Scores:
        """In the place of scores: the ranks gather arrays of the same shapes."""
        scores: Scores = {}
        for part in parts:
            rows = np.zeros((self._batches(part), 2))
            of = part.of
            if part.mean:
                scores[rows_of(part.mean)] = rows
            else:
                scores[of.name] = np.zeros(length(of.clients, of.classes, of.domain_count))
            if not part.mean and of is self._sets[0]:
                scores[ROWS] = rows
        return scores


def _costs(sent: Sent, ranks: int) -> Costs:
    if sent.costs is None:
        return Costs.unknown(ranks)
    return Costs.from_flat(sent.costs.cpu().numpy())


def gathered(share: Share, communicator: Communicator, stopwatch: Stopwatch) -> Scores:
    """The scores of all ranks' shares, on every rank; none if a rank has abandoned its own.

    If the server does all of it, the scores are on the server alone.
    """
    if share.is_whole:
        return share.scores
    with stopwatch.spending(Kind.WAIT):
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
    return values if name.startswith(ROWS) else values.view(np.int64)
