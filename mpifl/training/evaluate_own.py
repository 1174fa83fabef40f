"""Evaluation of a federation in which every client has a model of its own.

Every sample is classified by the model of the client that it belongs to; the test set belongs to
each of the clients that train. Each rank tests the clients whose states it holds. A client that has
not trained yet has the initial model.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from mpifl.parallel.heartbeat import Abandoned
from mpifl.training.client_states import ClientStates
from mpifl.training.evaluate import NO_SCORES, NO_SHARE, Evaluator, Scores, Share, Tester, gathered
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Sent
from mpifl.training.tallies import EvaluationSet, length

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator


def evaluator_of(
    experiment: Experiment, communicator: Communicator, states: ClientStates
) -> Evaluator | OwnEvaluator:
    """What evaluates the run: the server's model, or each client's own."""
    clients = experiment.clients
    if clients.algorithm.personal:
        return OwnEvaluator(experiment, communicator, states)
    return Evaluator(
        clients.net, experiment.sets, experiment.evaluation, clients.loss, communicator
    )


class OwnEvaluator:
    """Evaluates each client's own model, on the rank that holds it."""

    def __init__(
        self, experiment: Experiment, communicator: Communicator, states: ClientStates
    ) -> None:
        clients = experiment.clients
        self.tester = Tester(
            clients.net,
            experiment.test,
            experiment.evaluation.batch,
            clients.loss,
            communicator.heartbeat.poll_in_round,
        )
        self.is_shared = communicator.size > 1
        self.seconds = 0.0
        """that the last evaluation took on this rank"""
        self._experiment = experiment
        self._communicator = communicator
        self._states = states

    def whole(self, sent: Sent) -> Scores:
        """The whole evaluation, if the order asks for it; else NO_SCORES."""
        if not sent.order.evaluate:
            return NO_SCORES
        return gathered(self.share(sent), self._communicator)

    def share(self, sent: Sent) -> Share:
        """The evaluation of this rank's clients, if the order asks for it; else NO_SHARE."""
        if not sent.order.evaluate:
            return NO_SHARE
        began = time.perf_counter()
        experiment = self._experiment
        sets = experiment.evaluation.due(experiment.sets, sent.order)
        counts = {}
        for of in sets:
            counts[of.name] = np.zeros(length(of.clients, of.classes, of.domain_count), np.int64)
        received = sent.to(experiment.clients.net.device)
        is_abandoned = False
        try:
            for client in self._states.held(len(experiment.partition)):
                self._add(client, received, sets, counts)
            self.seconds = time.perf_counter() - began
        except Abandoned:
            is_abandoned = True
        scores = {name: of_set.view(np.float64) for name, of_set in counts.items()}
        return Share(scores, is_abandoned)

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
