"""`runtime.lanes = "auto"`: which numbers of lanes a run tries, which it keeps, and its bits."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import tiny
import torch
from click.testing import CliRunner

import mpifl
from mpifl.cli import main
from mpifl.config import merge
from mpifl.training import lane_choice
from mpifl.training.callback import Callback
from mpifl.training.lane_choice import LaneChoice
from mpifl.training.lane_room import LaneRoom
from mpifl.training.progress import Progress
from mpifl.training.rounds import run
from tests.training.test_lanes import FIVE_CLIENTS, lanes_alive

TRIAL = 4
"""rounds with each number of lanes"""


def tried(costs: dict[int, float], room: int = 16) -> list[int]:
    """The numbers of lanes, one after the other, where a unit of work takes what `costs` say."""
    choice = LaneChoice("auto")
    numbers = [choice.lanes]
    for _ in range(10 * TRIAL):
        choice.learn(costs[choice.lanes], room)
        if choice.lanes != numbers[-1]:
            numbers.append(choice.lanes)
    return numbers


@pytest.mark.parametrize(
    ("costs", "room", "numbers"),
    [
        ({1: 1.0, 2: 0.95}, 16, [1, 2, 1]),
        ({1: 1.0, 2: 0.5, 4: 0.6}, 16, [1, 2, 4, 2]),
        ({1: 1.0, 2: 0.5, 4: 0.25, 8: 0.2, 16: 0.1}, 16, [1, 2, 4, 8, 16]),
        ({1: 1.0, 2: 0.5, 4: 0.25}, 7, [1, 2, 4]),
        ({1: 1.0}, 1, [1]),
    ],
    ids=["no gain", "a gain, then a loss", "gains up to the most", "no more room", "room for one"],
)
def test_lanes_are_doubled_while_that_saves_a_tenth_and_there_is_room(costs, room, numbers):
    assert tried(costs, room) == numbers


def test_one_slow_round_and_the_first_with_a_number_of_lanes_do_not_decide():
    choice = LaneChoice("auto")
    for seconds in [1.0] * TRIAL + [50.0, 9.0, 0.5, 9.0]:
        choice.learn(seconds, room=2)
    assert choice.lanes == 2


def test_a_number_of_the_config_stays():
    choice = LaneChoice(3)
    for seconds in (1.0, 2.0, 3.0, 4.0, 5.0):
        choice.learn(seconds, room=16)
    assert choice.lanes == 3


class Noted(Callback):
    """The lanes of each round."""

    def __init__(self) -> None:
        self.lanes: list[int] = []

    def round_finished(self, progress: Progress, last: bool) -> None:
        self.lanes.append(progress.figures["lanes"])


def played(config: dict, lanes: int | str) -> tuple[list, list[int]]:
    """What identifies a run's rounds, and their lanes."""
    digests = tiny.Digests()
    noted = Noted()
    experiment = tiny.experiment(merge(config, {"runtime": {"lanes": lanes}}))
    run(experiment, tiny.alone(), [digests, noted])
    assert list(experiment.clients._trainers) == [experiment.clients.net]
    return digests.rounds, noted.lanes


@pytest.mark.parametrize(("gain", "kept"), [(0.0, 1), (1e9, 2)], ids=["is too little", "pays"])
def test_a_run_that_tries_lanes_has_the_bits_of_one_lane(monkeypatch, gain, kept):
    monkeypatch.setattr(LaneRoom, "beside", lambda self, lanes: 3)
    monkeypatch.setattr(lane_choice, "_GAIN", gain)
    config = merge(FIVE_CLIENTS, {"rounds": 2 * TRIAL + 1, "model": {"name": "lenet"}})
    alone, of_one = played(config, 1)
    tried, lanes = played(config, "auto")
    assert tried == alone
    assert of_one == [1] * (2 * TRIAL + 1)
    assert lanes == [1] * TRIAL + [2] * TRIAL + [kept]
    assert not lanes_alive()


def test_a_run_stores_and_shows_its_lanes(monkeypatch, tmp_path):
    monkeypatch.setattr(LaneRoom, "beside", lambda self, lanes: 2)
    config = {**tiny.RUN, "rounds": TRIAL + 1, "runtime": {"lanes": "auto"}}
    run = mpifl.run(config, out=tmp_path / "run", quiet=True)
    assert run.rounds["lanes"].tolist() == [1] * TRIAL + [2]
    shown = CliRunner().invoke(main, ["show", str(run.path)], env={"COLUMNS": "200"}).output
    assert f"1 from round 1, 2 from round {TRIAL + 1}" in shown


def test_no_more_lanes_are_tried_than_a_rank_has_clients(monkeypatch):
    monkeypatch.setattr(LaneRoom, "beside", lambda self, lanes: 16)
    monkeypatch.setattr(lane_choice, "_GAIN", 1e9)
    config = merge(FIVE_CLIENTS, {"rounds": 3 * TRIAL, "participation": {"fraction": 0.6}})
    _, lanes = played(config, "auto")
    assert lanes == [1] * TRIAL + [2] * 2 * TRIAL


@pytest.mark.parametrize(
    ("own", "of_node", "workers", "threads", "lanes"),
    [(8, 8, 1, 1, 8), (8, 8, 2, 1, 4), (8, 8, 3, 2, 1), (2, 8, 2, 1, 2), (1, 1, 3, 1, 1)],
)
def test_on_a_cpu_there_is_room_for_a_lane_for_each_core_that_no_other_worker_needs(
    monkeypatch, own, of_node, workers, threads, lanes
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(own)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    communicator = SimpleNamespace(cores=of_node, worker_on_node=lambda: (0, workers))
    assert LaneRoom(communicator, torch.device("cpu")).beside(1) == lanes


@pytest.mark.parametrize(("workers", "gpus", "lanes"), [(1, 1, 9), (2, 1, 5), (2, 2, 9), (3, 2, 5)])
def test_on_a_gpu_there_is_room_while_its_free_memory_lasts_for_all_who_share_it(
    monkeypatch, workers, gpus, lanes
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 20)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 20)
    communicator = SimpleNamespace(cores=8, worker_on_node=lambda: (0, workers))
    assert LaneRoom(communicator, torch.device("cuda", 0)).beside(2) == lanes
