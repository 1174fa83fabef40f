"""The end of a round: one sum over all clients, and every rank's figures, on the server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mpifl.parallel.exact_sum import Diverged, Layout, WeightedSum
from mpifl.training.evaluator import NO_SCORES, Scores, Share
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Model, Reply, Sent
from mpifl.training.progress import RunFailed
from mpifl.training.sampling import RoundPlan
from mpifl.training.timeline import Kind, Stopwatch, with_waits
from mpifl.training.worker import PlayedRound

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator

_SCORES = "scores of "
_STOP_AFTER_ROUND, _ROUND_ABANDONED, _TEST_ABANDONED = 1.0, 2.0, 3.0
"""what a rank may wish; 0: nothing; the last: its share of the evaluation does not count either"""


class Collected(NamedTuple):
    """What the server has at the end of a round."""

    total: Reply
    """the sum of the weighted replies of all clients that did not fail"""
    rows: np.ndarray
    """float64 [cohort, Column]"""
    scores: Scores
    """of the evaluation, where all ranks share it and none has abandoned it; else none"""
    models: list[Model]
    """of the cohort's clients, in its order, in rounds that keep them"""
    abandoned: bool
    """whether a rank left the round because a stop was asked for: then the round does not count"""
    seconds_wait: float
    """how long the server waited for the workers"""
    spent: np.ndarray
    """float64 [ranks, Kind]: the seconds of every rank since the round before"""
    batches: np.ndarray
    """int64 [ranks]: batches that every rank has evaluated since then"""
    replayed: int
    """local steps of all ranks that were recorded ones"""
    room: int
    """the most lanes that all workers have room for; 0 where nobody asks"""


class Collector:
    """Adds up what the ranks have; every rank has one."""

    def __init__(
        self, experiment: Experiment, communicator: Communicator, stopwatch: Stopwatch
    ) -> None:
        self._experiment = experiment
        self._communicator = communicator
        self._stopwatch = stopwatch
        self._layout: Layout | None = None
        self._sums: WeightedSum | None = None

    def new_sum(self, plan: RoundPlan, sent: Sent) -> WeightedSum:
        """An empty sum for the replies to `sent`, in place of that of the last round.

        Raises RunFailed where `sent` is not finite.
        """
        try:
            if self._sums is None:
                self._sums = WeightedSum(sent.vectors(), self._layout)
            else:
                expected = len(plan.cohort) if self._communicator.is_server else 0
                self._sums.begin(sent.vectors(), expected)
        except Diverged as error:
            raise RunFailed(f"round {plan.round}: {error}") from None
        return self._sums

    def collect(self, plan: RoundPlan, played: PlayedRound, share: Share) -> Collected | None:
        """Bring all to the server (elsewhere None). `share`: this rank's, of the evaluation."""
        began = time.perf_counter()
        with self._stopwatch.spending(Kind.WAIT):
            self._agree_on_layout(played.sums)
        figures = {"rows": played.rows, "wishes": self._wishes(played, share)}
        figures["replayed"] = self._at_own_place(played.replayed)
        figures["room"] = self._at_own_place(played.room)
        figures |= {_SCORES + name: values for name, values in share.scores.items()}
        figures |= self._own_time()
        total = self._communicator.total(played.sums, figures)
        self._stopwatch.keep_messages()  # how long a rank waited follows from what all tell
        waited = time.perf_counter() - began
        models = self._collect_models(plan, played)
        if total is None:
            return None
        vectors, figures = total
        wishes = figures["wishes"]
        if wishes.any():
            self._communicator.heartbeat.stop(f"a signal to rank {wishes.argmax()}")
        abandoned = bool((wishes >= _ROUND_ABANDONED).any())
        reply = Reply.from_flat(vectors)
        scores = _scores(figures)
        if (wishes == _TEST_ABANDONED).any():
            scores = NO_SCORES
        return Collected(
            reply,
            figures["rows"],
            scores,
            models,
            abandoned,
            waited,
            with_waits(figures["spent"]),
            figures["batches"].astype(np.int64),
            int(figures["replayed"].sum()),
            int(figures["room"][self._communicator.first_worker :].min()),
        )

    def spent_after_all(self) -> np.ndarray:
        """float64 [ranks, Kind]: the seconds of every rank since the last round, on every rank."""
        spent = self._own_time()["spent"]
        return with_waits(self._communicator.everywhere(spent))

    def _own_time(self) -> dict[str, np.ndarray]:
        """The seconds and batches of this rank since the last call, at its place among all."""
        seconds, batches = self._stopwatch.take()
        return {"spent": self._at_own_place(seconds), "batches": self._at_own_place(batches)}

    def _at_own_place(self, value: float | np.ndarray) -> np.ndarray:
        """float64 [ranks, ...]: this rank's value, zero for the others."""
        values = np.zeros((self._communicator.size, *np.shape(value)))
        values[self._communicator.rank] = value
        return values

    def _agree_on_layout(self, sums: WeightedSum) -> None:
        """Tell ranks that have no reply yet what replies look like, in the first round."""
        if self._layout is None:
            self._layout = self._communicator.first_known(sums.layout)
        if self._layout is not None and sums.layout is None:
            sums.lay_out(self._layout)

    def _wishes(self, played: PlayedRound, share: Share) -> np.ndarray:
        """float64 [ranks]: what this rank wishes, at its place."""
        wish = 0.0
        if share.is_abandoned:
            wish = _TEST_ABANDONED
        elif played.abandoned:
            wish = _ROUND_ABANDONED
        elif self._communicator.heartbeat.reason:
            wish = _STOP_AFTER_ROUND
        return self._at_own_place(wish)

    def _collect_models(self, plan: RoundPlan, played: PlayedRound) -> list[Model]:
        """The models of the cohort's clients on the server; none on other ranks, or if not kept."""
        if plan.round not in self._experiment.clients_rounds:
            return []
        net = self._experiment.clients.net
        communicator = self._communicator
        like = Model(net.weights.cpu(), net.buffers.cpu())._asdict()
        models = {client: model._asdict() for client, model in played.models.items()}
        players = plan.players(communicator.first_worker)
        moves = [(client, rank, 0) for client, rank in players.items() if rank != 0]
        communicator.move(models, like, moves)
        if not communicator.is_server:
            return []
        return [Model(**models[client]) for client in plan.cohort.tolist()]


def _scores(figures: Mapping[str, np.ndarray]) -> Scores:
    """Those of the evaluation among a round's figures."""
    scores = {}
    for name, values in figures.items():
        if name.startswith(_SCORES):
            scores[name.removeprefix(_SCORES)] = values
    return scores
