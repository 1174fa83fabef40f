"""Lanes: which client plays where and when, errors, and the ends of threads."""

from __future__ import annotations

import math
import threading
import time
from contextlib import closing

import pytest
import tiny

from mpifl.config import merge
from mpifl.losses import LOSSES
from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.options import options
from mpifl.parallel.heartbeat import Abandoned
from mpifl.training import client, worker
from mpifl.training.client import Task
from mpifl.training.experiment import Experiment
from mpifl.training.lanes import Lanes
from mpifl.training.rounds import run

LANES = 3
FIVE_CLIENTS = {
    "clients": 5,
    "participation": {"fraction": 0.8},
    "data": {"options": {"train": 40}},
}


def two_lanes(experiment: Experiment) -> Lanes:
    lanes = Lanes(experiment.clients)
    lanes.have(2)
    return lanes


def test_each_lane_has_a_net_and_recorded_steps_of_its_own(monkeypatch):
    all_have_begun = threading.Barrier(LANES)
    recorded = {}

    def play(clients, task):
        all_have_begun.wait(60)
        played = client.play(clients, task)
        recorded[clients.net] = len(clients.trainer._replays)
        return played

    monkeypatch.setattr(worker, "play", play)
    config = {
        "clients": LANES,
        "participation": {"fraction": 1.0},
        "model": {"name": "lenet"},
        "runtime": {"lanes": LANES, "graphs": "yes"},
    }
    experiment = tiny.experiment(config)
    run(experiment, tiny.alone())
    assert len(recorded) == LANES
    assert experiment.clients.net not in recorded
    assert all(recorded.values())


def test_a_lane_takes_the_next_client_when_it_is_free_and_clients_end_in_any_order():
    experiment = tiny.experiment(FIVE_CLIENTS)
    last_has_begun = threading.Event()

    def play(clients, task):
        if task.client == 3:
            last_has_begun.set()
        if task.client == 0:
            assert last_has_begun.wait(60)
        return PLAYED

    tasks = [Task(client, 1, None, None) for client in range(4)]
    with closing(two_lanes(experiment)) as lanes:
        ended = [each.task.client for each in lanes.play(tasks, play)]
    assert sorted(ended) == [0, 1, 2, 3]
    assert ended.index(0) > ended.index(2)


PLAYED = object()


def test_no_more_tasks_are_asked_for_than_there_are_lanes():
    experiment = tiny.experiment(FIVE_CLIENTS)
    asked = []

    def tasks():
        for number in range(6):
            asked.append(number)
            yield Task(number, 1, None, None)

    ended = 0
    with closing(two_lanes(experiment)) as lanes:
        for _ in lanes.play(tasks(), lambda clients, task: PLAYED):
            assert len(asked) <= ended + 2
            ended += 1
    assert ended == 6


@options
class Fails(CrossEntropy):
    """Cross-entropy that client 1 cannot compute."""

    def __call__(self, step):
        if step.context.client == 1:
            raise ZeroDivisionError("no sample has this label")
        return super().__call__(step)


def test_an_error_in_a_lane_names_its_client_and_ends_the_round(monkeypatch):
    monkeypatch.setitem(LOSSES, "fails", Fails)
    config = {"participation": {"fraction": 1.0}, "local": {"loss": "fails"}}
    experiment = tiny.experiment({**config, "runtime": {"lanes": LANES}})
    with pytest.raises(ZeroDivisionError) as failed:
        run(experiment, tiny.alone())
    assert failed.value.__notes__ == ["rank 0, round 1, client 1"]
    assert not lanes_alive()


def leaves_when_told(task: Task, left: list[int]) -> None:
    """Steps without end; notes in `left` that the client was left. An error after a minute."""
    end = time.monotonic() + 60
    try:
        while time.monotonic() < end:
            task.alive()
    except Abandoned:
        left.append(task.client)
        raise
    raise AssertionError("nobody told this lane to leave its client")


def test_an_error_in_a_lane_makes_the_others_leave_their_clients():
    has_begun = threading.Event()
    left = []

    def play(clients, task):
        if task.client == 0:
            assert has_begun.wait(60)
            raise ZeroDivisionError
        has_begun.set()
        leaves_when_told(task, left)

    tasks = [Task(client, 1, None, None) for client in range(2)]
    with closing(two_lanes(tiny.experiment(FIVE_CLIENTS))) as lanes:
        with pytest.raises(ZeroDivisionError):
            list(lanes.play(tasks, play))
        assert left == [1]


def test_lanes_leave_their_clients_where_the_caller_goes_no_further():
    left = []

    def play(clients, task):
        if task.client == 1:
            leaves_when_told(task, left)
        return PLAYED

    tasks = [Task(client, 1, None, None) for client in range(2)]
    with closing(two_lanes(tiny.experiment(FIVE_CLIENTS))) as lanes:
        ended = lanes.play(tasks, play)
        assert next(ended).task.client == 0
        ended.close()
        assert left == [1]


@options
class Stops(CrossEntropy):
    """Cross-entropy; in round 2 a stop of the run is requested."""

    def __call__(self, step):
        if step.context.round == 2:
            tiny.alone().heartbeat.stop("the test")
        return super().__call__(step)


def test_a_round_that_takes_too_long_after_a_stop_is_abandoned_in_all_lanes(monkeypatch):
    monkeypatch.setitem(LOSSES, "stops", Stops)
    config = {"rounds": 3, "local": {"loss": "stops"}, "runtime": {"lanes": LANES}}
    communicator = tiny.alone()
    communicator.heartbeat.expect(grace=0, patience=0)
    try:
        progress = run(tiny.experiment(merge(FIVE_CLIENTS, config)), communicator)
    finally:
        communicator.heartbeat.forget_stop()
        communicator.heartbeat.expect(grace=math.inf, patience=0)
    assert (progress.round, progress.stopped) == (1, "the test")
    assert not lanes_alive()


def lanes_alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lane")]


def test_threads_of_lanes_end_with_the_run_and_what_they_recorded_is_forgotten():
    experiment = tiny.experiment(merge(FIVE_CLIENTS, {"runtime": {"lanes": LANES}}))
    run(experiment, tiny.alone())
    assert not lanes_alive()
    assert not experiment.clients._trainers
