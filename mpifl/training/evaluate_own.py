"""Evaluation of a federation in which every client has a model of its own.

Every sample is classified by the model of the client that it belongs to; the test set belongs to
each of the clients that train. Each rank tests the clients whose states it holds, and rank 0 means
of models. A client that has not trained yet has the initial model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mpifl.parallel.heartbeat import Abandoned
from mpifl.training.client_states import ClientStates
from mpifl.training.dealing import Costs
from mpifl.training.evaluate import Tester
from mpifl.training.evaluator import (
    NO_SCORES,
    NO_SHARE,
    Evaluator,
    Scores,
    Share,
    gathered,
    rows_of,
)
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Order, Sent, Vectors
from mpifl.training.sampling import RoundPlan
from mpifl.training.tallies import EvaluationSet, length
from mpifl.training.timeline import Kind, Stopwatch

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator


def evaluator_of(
    experiment: Experiment,
    communicator: Communicator,
    states: ClientStates,
    stopwatch: Stopwatch,
) -> Evaluator | OwnEvaluator:
    """What evaluates the run: the server's model, or each client's own."""
    if experiment.clients.algorithm.personal:
        return OwnEvaluator(experiment, communicator, states, stopwatch)
    return Evaluator(experiment, communicator, stopwatch)


class OwnEvaluator:
    """Evaluates each client's own model, on the rank that holds it."""

    def __init__(
        self,
        experiment: Experiment,
        communicator: Communicator,
        states: ClientStates,
        stopwatch: Stopwatch,
    ) -> None:
        clients = experiment.clients
        self.tester = Tester(
            clients.net,
            experiment.test,
            experiment.evaluation.batch,
            clients.loss,
            communicator.heartbeat.poll_in_round,
        )
        self._seconds = 0.0
        """that the last evaluation took on this rank"""
        self._experiment = experiment
        self._communicator = communicator
        self._states = states
        self._stopwatch = stopwatch

    def expected(self, order: Order, costs: Costs) -> float:
        """Seconds of a whole evaluation: as long as the last one took; 0 before any."""
        return self._seconds

    def whole(self, sent: Sent, means: Vectors) -> Scores:
        """The whole evaluation, if the order asks for it; else NO_SCORES."""
        share = self.share(sent, None, means)
        return gathered(share, self._communicator, self._stopwatch)

    def share(self, sent: Sent, plan: RoundPlan | None, means: Vectors) -> Share:
        """The evaluation of this rank's clients, if the order asks for it; else NO_SHARE.

        `means` are the server's.
        """
        if not sent.order.evaluate:
            return NO_SHARE
        with self._stopwatch.spending(Kind.TEST):
            return self._share(sent, means)

    def _share(self, sent: Sent, means: Vectors) -> Share:
        began = time.perf_counter()
        experiment = self._experiment
        sets = experiment.evaluation.due(experiment.sets, sent.order)
        counts = {}
        for of in sets:
            counts[of.name] = np.zeros(length(of.clients, of.classes, of.domain_count), np.int64)
        scores: Scores = {}
        received = sent.to(experiment.clients.net.device)
        is_abandoned = False
        try:
            for client in self._states.held(len(experiment.partition)):
                self._add(client, received, sets, counts)
            scores |= self._of_means(sent, means)
            self._seconds = time.perf_counter() - began
        except Abandoned:
            is_abandoned = True
        is_whole = self._communicator.size == 1
        if is_abandoned and is_whole:
            return Share(NO_SCORES, is_abandoned, is_whole)
        scores = self._no_rows(sent.order) | scores
        scores |= {name: of_set.view(np.float64) for name, of_set in counts.items()}
        return Share(scores, is_abandoned, is_whole)

    def _of_means(self, sent: Sent, means: Vectors) -> Scores:
        """Rows of the means that the server has, with its buffers; none on other ranks."""
        scores = {}
        for name in self._means_of(sent.order):
            if name in means:
                self.tester.net.load(means[name], sent.buffers)
                scores[rows_of(name)] = self.tester.loaded_rows()
        return scores

    def _no_rows(self, order: Order) -> Scores:
        """Zeros in the place of rows: the ranks gather arrays of the same shapes."""
        batches = self._experiment.evaluation.batches(len(self.tester.samples))
        return {rows_of(name): np.zeros((batches, 2)) for name in self._means_of(order)}

    def _means_of(self, order: Order) -> Sequence[str]:
        names = self._experiment.clients.means
        return [name for name, is_there in zip(names, order.means, strict=True) if is_there]

    def _add(
        self,
        client: int,
        sent: Sent,
        sets: list[EvaluationSet],
        counts: dict[str, np.ndarray],
    ) -> None:
        """Add what the client's model makes of its samples to `counts`."""
        parts = {of.name: of.part(client) for of in sets}
        owned = {name: part for name, part in parts.items() if len(part)}
        if not owned:
            return
        model = self._experiment.clients.start(sent, self._states.of(client))
        self.tester.net.load(*model)
        for name, part in owned.items():
            counts[name] += self.tester.loaded_counts(part)
