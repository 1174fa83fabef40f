"""The server's side of the round loop: what comes next, and the report of what was.

Every rank has a Server. On a worker it only follows what rank 0 has sent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpifl.training.algorithm import check_vectors
from mpifl.training.callback import Callback, Checkpointer
from mpifl.training.client_rows import Column, Failure
from mpifl.training.collector import Collected
from mpifl.training.dealing import Costs
from mpifl.training.evaluate import Score
from mpifl.training.evaluate_own import OwnEvaluator
from mpifl.training.evaluator import ROWS, Evaluator, Scores, rows_of
from mpifl.training.experiment import Experiment
from mpifl.training.lane_choice import LaneChoice
from mpifl.training.messages import Action, Order, Sent
from mpifl.training.progress import Progress, RunFailed, Start
from mpifl.training.sampling import RoundPlan
from mpifl.training.server_step import ServerStep, without_failed
from mpifl.training.tallies import TEST, Tally, from_flat
from mpifl.training.timeline import Kind, Stopwatch

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator


class _Stage(Enum):
    """How far the last round has come."""

    NEW = auto()
    """no callback knows of it"""
    TOLD = auto()
    """callbacks know of it; it is not evaluated, or not yet"""
    TESTED = auto()
    """callbacks know of it and of its evaluation"""


class _News(NamedTuple):
    """What callbacks are to be told of."""

    progress: Progress
    is_round: bool
    """whether it is a round; else the evaluation of one that they know of"""


_ADVICE = "try a smaller local.lr or local.clip=10"


class Server:
    """How the run stands, and what rank 0 does with it."""

    def __init__(
        self,
        experiment: Experiment,
        communicator: Communicator,
        callbacks: Sequence[Callback],
        evaluator: Evaluator | OwnEvaluator,
        start: Start,
        stopwatch: Stopwatch,
    ) -> None:
        self.progress = start.progress
        self._experiment = experiment
        self._communicator = communicator
        self._callbacks = callbacks
        self._evaluator = evaluator
        self._stopwatch = stopwatch
        self._costs = Costs.unknown(communicator.size)
        self._lanes = LaneChoice(experiment.lanes)
        self._reached = start.reached
        self._step = ServerStep(experiment)
        self._stage = _Stage.TESTED if start.is_tested else _Stage.TOLD
        self._news: _News | None = None
        self._failure = ""
        self._round_began = 0.0
        self._bytes_before = 0

    def begin_round(self, checkpointer: Checkpointer) -> Sent:
        """Send the model to every rank, with the order what to do next; returns what was sent."""
        self._round_began = time.perf_counter()
        self._bytes_before = self._communicator.bytes_moved
        algorithm = self._experiment.clients.algorithm
        progress = self.progress
        vectors = algorithm.send(progress.w, progress.server)
        check_vectors(f"{type(algorithm).__name__}.send", vectors, dtype=progress.w.dtype)
        if "w" not in vectors:
            raise TypeError(f"{type(algorithm).__name__}.send: expected the weights as w; got none")
        other = None if vectors["w"] is progress.w else progress.w
        order = self._order(checkpointer)
        costs = torch.from_numpy(self._costs.flat()).to(progress.w.dtype)
        message = Sent(vectors, progress.buffers, order, other, costs)
        with self._stopwatch.spending(Kind.WAIT):
            sent = Sent.from_flat(self._communicator.broadcast(message.flat()))
        self._tell()
        if not self._communicator.is_server:
            progress.w, progress.buffers = sent.model
            progress.round = sent.order.round
        return sent

    def report(self, scores: Scores, last: bool = False) -> None:
        """Tell the callbacks of the last round, once; `scores` are those of its evaluation.

        A resumed run has told of it before, but not of the evaluation that the stop abandoned.
        """
        self.report_later(scores)
        self._tell(last)

    def report_later(self, scores: Scores) -> None:
        """As `report`, but the callbacks are told once the next round is sent.

        So the other ranks do not wait for them.
        """
        before = self._stage
        if scores and before != _Stage.TESTED:
            self._note(scores)
            self._stage = _Stage.TESTED
        elif before == _Stage.NEW:
            self._stage = _Stage.TOLD
        if self._stage != before:
            self._news = _News(self.progress, is_round=before == _Stage.NEW)

    def _tell(self, last: bool = False) -> None:
        """Tell the callbacks what there is to tell."""
        news = self._news
        self._news = None
        if news is None:
            return
        with self._communicator.heartbeat.slow(), self._stopwatch.spending(Kind.WRITE):
            for callback in self._callbacks:
                if news.is_round:
                    callback.round_finished(news.progress, last and self._is_tested)
                else:
                    callback.round_tested(news.progress, last)

    def _note(self, scores: Scores) -> None:
        """Note what the last round's evaluation has found."""
        progress = self.progress
        tester = self._evaluator.tester
        progress.tallies = self._tallies(scores)
        progress.score = self._score(scores)
        progress.scores = {}
        for name in progress.means:
            progress.scores[name] = tester.total(scores[rows_of(name)])
        target = self._experiment.evaluation.target_accuracy
        hit = target > 0 and progress.score.accuracy >= target
        if hit and not self._reached:
            self._reached = progress.round

    def _score(self, scores: Scores) -> Score:
        """The score on the test set: of the server's model, or the mean of the clients' own."""
        if ROWS in scores:
            return self._evaluator.tester.total(scores[ROWS])
        tally = self.progress.tallies[TEST]
        tested = len(self._experiment.sets[0])
        return Score(tally.loss / tested, tally.right / tested)

    def _tallies(self, scores: Scores) -> dict[str, Tally]:
        """The counts of every set that was evaluated, by its name."""
        tallies = {}
        for of in self._experiment.sets:
            if of.name in scores:
                counts = scores[of.name].view(np.int64)
                tallies[of.name] = from_flat(counts, of.clients, of.classes, of.domain_count)
        return tallies

    def finish_round(self, plan: RoundPlan, sent: Sent, collected: Collected) -> None:
        """The server's step; where clients failed, what `divergence` says.

        Nothing where the round was abandoned, or the test of the round before: that is then the
        last one.
        """
        self._costs = self._costs.after(plan, collected.spent, collected.batches)
        self._lanes.after(plan, collected.spent, collected.room)
        if collected.abandoned or (sent.order.evaluate and not self._is_tested):
            return
        figures = self._figures(plan, sent, collected)
        failed = collected.rows[:, Column.FAILED]
        if failed.any():
            weight_kept = float(collected.rows[failed == 0, Column.WEIGHT].sum())
            stops = self._experiment.divergence == "stop"
            if stops or weight_kept == 0:
                self._failure = _failure(plan.round, plan.cohort, failed)
                if stops:
                    self._failure += ", or divergence=skip"
                return
            collected = without_failed(collected, weight_kept)
        after = self._step(self.progress, plan, collected)
        if not _is_finite(after.w, after.buffers):
            self._failure = (
                f"round {plan.round}: the server's new weights are not finite; {_ADVICE}"
            )
            return
        after.models = collected.models
        after.spent = collected.spent
        seconds = time.perf_counter() - self._round_began
        after.figures = {**figures, "seconds": seconds, "seconds_wait": collected.seconds_wait}
        self.progress = after
        self._stage = _Stage.NEW

    def add_time(self, spent: np.ndarray) -> None:
        """Count seconds [ranks, Kind] after the last round as that round's."""
        if len(self.progress.spent):
            self.progress.spent = self.progress.spent + spent

    def end(self, action: Action) -> Progress:
        """How the run ended. Raises RunFailed."""
        if action == Action.FAIL:
            raise RunFailed(self._failure)
        if action == Action.STOP or not self._is_tested:
            self.progress.stopped = self._communicator.heartbeat.reason
        return self.progress

    @property
    def _is_tested(self) -> bool:
        return self._stage == _Stage.TESTED

    def _order(self, checkpointer: Checkpointer) -> Order:
        action = self._next_action()
        progress = self.progress
        due = action == Action.FINISH or progress.round % self._experiment.evaluation.every == 0
        evaluate = due and not self._is_tested
        means = tuple(name in progress.means for name in self._experiment.clients.means)
        order = Order(action, progress.round, evaluate, checkpoint=False, means=means)
        if evaluate and not self._has_time(order):
            evaluate = False
            if action == Action.FINISH:
                action = Action.STOP
        ends_well = action in (Action.FINISH, Action.STOP)
        checkpoint = (
            progress.round > 0
            and action != Action.FAIL
            and checkpointer.is_due(progress, ending=ends_well)
        )
        return Order(action, progress.round, evaluate, checkpoint, self._lanes.lanes, means)

    def _has_time(self, order: Order) -> bool:
        """Whether the evaluation would end within the grace period of a stop."""
        expected = self._evaluator.expected(order, self._costs)
        return self._communicator.heartbeat.has_time(expected)

    def _next_action(self) -> Action:
        progress = self.progress
        if self._failure:
            return Action.FAIL
        if progress.round >= self._experiment.rounds:
            return Action.FINISH
        if 0 < self._reached < progress.round:  # the target was hit while one more round was played
            return Action.FINISH
        if self._communicator.heartbeat.reason:
            return Action.STOP
        return Action.PLAY

    def _figures(self, plan: RoundPlan, sent: Sent, collected: Collected) -> dict[str, Any]:
        """The round's bytes, as a real federation would send them and as MPI moved them; the
        busiest worker's time; local steps.
        """
        clients = self._experiment.clients
        size = self.progress.w.element_size()
        if not clients.algorithm.communicates:
            size = 0
        unsent = clients.unsent()
        replied = np.count_nonzero(collected.rows[:, Column.FAILED] == Failure.NONE)
        asked = len(plan.cohort) + len(plan.late)
        return {
            "lr": clients.rate(plan.round),
            "bytes_down": (sent.elements() - unsent) * size * asked,
            "bytes_up": (collected.total.elements() - unsent) * size * replied,
            "bytes_mpi": self._communicator.bytes_moved - self._bytes_before,
            "seconds_train": float(collected.spent[:, Kind.TRAIN].max()),
            "steps_taken": int(collected.rows[:, Column.STEPS].sum()),
            "steps_replayed": collected.replayed,
            "lanes": sent.order.lanes,
        }


def _is_finite(*vectors: Tensor) -> bool:
    return all(bool(vector.isfinite().all()) for vector in vectors)


def _failure(round: int, cohort: np.ndarray, failed: np.ndarray) -> str:
    first = int(np.flatnonzero(failed)[0])
    what = Failure(int(failed[first])).reason
    count = np.count_nonzero(failed)
    return (
        f"round {round}, client {cohort[first]}: {what} (so with {count} of {len(cohort)} clients "
        f"of the round); {_ADVICE}"
    )
