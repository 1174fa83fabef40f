"""A worker's part of a round: its clients, into one weighted sum and one row of figures each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mpifl.data.batches import Minibatches
from mpifl.parallel.exact_sum import WeightedSum
from mpifl.parallel.heartbeat import Abandoned, Lost
from mpifl.training.client import Played, Task, play
from mpifl.training.client_rows import Column, Failure
from mpifl.training.client_states import ClientStates
from mpifl.training.clients import Clients
from mpifl.training.evaluate import Tester
from mpifl.training.experiment import Experiment
from mpifl.training.lane_room import LaneRoom
from mpifl.training.lanes import Lanes
from mpifl.training.messages import Model, Sent
from mpifl.training.sampling import RoundPlan, weights
from mpifl.training.tallies import from_flat
from mpifl.training.timeline import Kind, Stopwatch

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator


class PlayedRound(NamedTuple):
    """What a worker's part of a round came to."""

    sums: WeightedSum
    """of its clients' replies"""
    rows: np.ndarray
    """float64 [cohort, Column]: those of its clients, zero elsewhere"""
    models: dict[int, Model]
    """of its clients after training, on the host, in rounds that keep them"""
    abandoned: bool
    """whether it left the round because a stop was asked for"""
    replayed: int
    """local steps that were recorded ones"""
    room: int
    """how many lanes this rank has room for; 0 where nobody asks"""


_Work = tuple[int, int, Callable[[], Minibatches]]
"""a client, its steps, and what gives its minibatches"""


class _Turn(NamedTuple):
    """A client that has played, and its place in the cohort."""

    client: int
    place: int
    played: Played


class Worker:
    """Plays clients on this rank; what they keep between rounds is in `states`."""

    def __init__(
        self,
        experiment: Experiment,
        communicator: Communicator,
        tester: Tester,
        states: ClientStates,
        stopwatch: Stopwatch,
    ) -> None:
        self._experiment = experiment
        self._communicator = communicator
        self._tester = tester
        self._states = states
        self._stopwatch = stopwatch
        self._lanes = Lanes(experiment.clients)
        self._room: LaneRoom | None = None
        if experiment.lanes == "auto":
            self._room = LaneRoom(communicator, experiment.clients.net.device)

    def close(self) -> None:
        """Call it when the last round is played."""
        self._lanes.close()

    def play(self, plan: RoundPlan, sent: Sent, sums: WeightedSum) -> PlayedRound:
        """Play this rank's clients, adding their replies to `sums`.

        The server has no clients unless it is alone.

        Raises what a client's training raises, with a note that names rank, round and client.
        """
        with self._stopwatch.spending(Kind.TRAIN):
            return self._play(plan, sent, sums)

    def _play(self, plan: RoundPlan, sent: Sent, sums: WeightedSum) -> PlayedRound:
        experiment = self._experiment
        self._lanes.have(sent.order.lanes)
        rows = np.zeros((len(plan.cohort), len(Column)))
        models: dict[int, Model] = {}
        own = self._own(plan)
        places = np.searchsorted(plan.cohort, own)
        rows[places, Column.WEIGHT] = weights(
            experiment.objective, experiment.clients.sizes[plan.cohort]
        )[places]
        steps = plan.steps[places].tolist()
        minibatches = experiment.clients.minibatches(own, plan.round, steps)
        place_of = dict(zip(own, places.tolist(), strict=True))
        tasks = self._tasks(plan, sent, zip(own, steps, minibatches, strict=True))
        waiting: list[_Turn] = []
        at_once: int | None = None
        replayed = 0
        try:
            with closing(self._lanes.play(tasks, self._play_one)) as ended:
                for task, played in ended:
                    self._test(task, played)
                    replayed += played.replayed
                    if plan.round in experiment.clients_rounds:
                        models[task.client] = _on_host(played.model)
                    waiting.append(_Turn(task.client, place_of[task.client], played))
                    if at_once is None:
                        at_once = sums.at_once(played.reply.elements())
                    if len(waiting) >= at_once:
                        self._count(waiting, rows, sums)
                        waiting = []
        except Abandoned:
            # The server expects as many models, though it drops them with the round.
            stand_in = _on_host(Model(sent.algorithm["w"], experiment.clients.net.buffers))
            models = dict.fromkeys(own, stand_in)
            return PlayedRound(sums, rows, models, True, replayed, room=0)
        self._count(waiting, rows, sums)
        room = self._room.most(self._lanes.made) if self._room else 0
        return PlayedRound(sums, rows, models, False, replayed, room)

    def _own(self, plan: RoundPlan) -> list[int]:
        if self._communicator.worker is None:
            return []
        return plan.assigned[self._communicator.worker]

    def _tasks(self, plan: RoundPlan, sent: Sent, work: Iterable[_Work]) -> Iterator[Task]:
        """What each of this rank's clients has to do; its state is read when it is asked for."""
        for client, steps, dealt in work:
            alive = partial(self._communicator.heartbeat.check, plan.round, client)
            try:
                state = self._states.of(client)
                if self._lanes.are_several:  # of several clients they are made at once, by one
                    dealt = _made(dealt())
            except Exception as error:
                self._say_where(error, plan.round, client)
                raise
            yield Task(client, plan.round, sent, state, steps, dealt, alive)

    def _play_one(self, clients: Clients, task: Task) -> Played:
        try:
            return play(clients, task)
        except Exception as error:
            self._say_where(error, task.round, task.client)
            raise

    def _test(self, task: Task, played: Played) -> None:
        """Test a client's model on the test set and its own, if that is wanted."""
        if not self._experiment.evaluation.clients:
            return
        try:
            begin = self._experiment.clients.start(task.sent, task.state)
            played.row[Column.OWN_RIGHT_BEFORE] = self._own_right(task.client, begin)
            with self._stopwatch.spending(Kind.OWN_TEST):
                played.row[Column.TEST_ACCURACY] = self._tester.score(played.model).accuracy
            played.row[Column.OWN_RIGHT_AFTER] = self._own_right(task.client, played.model)
        except Exception as error:
            self._say_where(error, task.round, task.client)
            raise

    def _say_where(self, error: Exception, round: int, client: int) -> None:
        """Give an error a note that says where it was raised."""
        if not isinstance(error, Abandoned | Lost):
            error.add_note(f"rank {self._communicator.rank}, round {round}, client {client}")

    def _count(self, turns: list[_Turn], rows: np.ndarray, sums: WeightedSum) -> None:
        """Add the replies of clients, keep their states, and fill their `rows`.

        The state of a client that failed stays what it was before the round.
        """
        if not turns:
            return
        places = [turn.place for turn in turns]
        own_rows = np.stack([turn.played.row for turn in turns])
        own_rows[:, Column.WEIGHT] = rows[places, Column.WEIGHT]
        is_good = np.ones(len(turns), dtype=bool)
        if self._experiment.divergence != "continue":
            is_good = np.isfinite(own_rows[:, Column.LOSS])
        own_rows[~is_good, Column.FAILED] = Failure.LOSS_NOT_FINITE
        good = np.flatnonzero(is_good)
        if len(good):
            replies = [turns[number].played.reply.flat() for number in good]
            is_added = sums.add_each(replies, own_rows[good, Column.WEIGHT])
            self._lanes.wait_until_used()
            own_rows[good[~is_added], Column.FAILED] = Failure.REPLY_OUT_OF_RANGE
        rows[places] = own_rows
        if self._states.are_empty:
            return
        for turn, failure in zip(turns, own_rows[:, Column.FAILED], strict=True):
            if failure == Failure.NONE:
                self._states.keep(turn.client, turn.played.state)
            else:
                self._states.keep(turn.client, self._states.of(turn.client))

    def _own_right(self, client: int, model: Model) -> float:
        """How many samples of the client's own test set a model classifies right.

        NaN where there is no such set.
        """
        own = self._experiment.own
        if own is None:
            return np.nan
        of_client = own.of_client(client)
        if not len(of_client):
            return np.nan
        with self._stopwatch.spending(Kind.OWN_TEST):
            self._tester.net.load(*model)
            counts = self._tester.loaded_counts(of_client)
        return from_flat(counts, 0, of_client.classes).right


def _made(minibatches: Minibatches) -> Callable[[], Minibatches]:
    return lambda: minibatches


def _on_host(model: Model) -> Model:
    return Model(model.weights.cpu(), model.buffers.cpu().clone())
