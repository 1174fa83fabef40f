"""`runtime.lanes = "auto"`: which numbers of lanes a run tries, which it keeps, and its bits."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
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
from mpifl.training.sampling import RoundPlan
from mpifl.training.timeline import Kind
from tests.training.test_lanes import FIVE_CLIENTS, lanes_alive

TRIAL = 4
"""rounds with each number of lanes"""


def tried(costs: dict[int, float], most: int = 16) -> list[int]:
    """The numbers of lanes, one after the other, where a unit of work takes what `costs` say."""
    choice = LaneChoice("auto")
    numbers = [choice.lanes]
    while choice.is_on_trial:
        choice.learn(costs[choice.lanes], most)
        if choice.lanes != numbers[-1]:
            numbers.append(choice.lanes)
    return numbers


@pytest.mark.parametrize(
    ("costs", "most", "numbers"),
    [
        ({1: 1.0, 2: 0.95}, 16, [1, 2, 1]),
        ({1: 1.0, 2: 0.5, 4: 0.6}, 16, [1, 2, 4, 2]),
        ({1: 1.0, 2: 0.5, 4: 0.25, 8: 0.2, 16: 0.1}, 16, [1, 2, 4, 8, 16]),
        ({1: 1.0, 2: 0.5, 4: 0.25}, 7, [1, 2, 4]),
        ({1: 1.0}, 1, [1]),
    ],
    ids=["no gain", "a gain, then a loss", "gains up to the most", "no more room", "room for one"],
)
def test_lanes_are_doubled_while_that_saves_a_tenth_and_there_is_room(costs, most, numbers):
    assert tried(costs, most) == numbers


def test_one_slow_round_and_the_first_with_a_number_of_lanes_do_not_decide():
    choice = LaneChoice("auto")
    for seconds in [1.0] * TRIAL + [50.0, 9.0, 0.5, 9.0]:
        choice.learn(seconds, most=2)
    assert choice.lanes == 2


def round_of(*clients: int, train: tuple[float, ...], own_test: float = 0.0) -> dict[str, Any]:
    """A round of two workers and a server: how many clients of a step each has, and their seconds;
    so many of tests are on the first worker.
    """
    numbers = np.arange(sum(clients))
    spent = np.zeros((3, len(Kind)))
    spent[0, Kind.TEST] = 99.0
    spent[1:, Kind.TRAIN] = train
    spent[1, Kind.OWN_TEST] = own_test
    none = np.zeros(0, dtype=np.int64)
    assigned = [numbers[: clients[0]].tolist(), numbers[clients[0] :].tolist()]
    plan = RoundPlan(1, numbers, np.ones(len(numbers), dtype=np.int64), none, -1, assigned)
    return {"plan": plan, "spent": spent}


def lanes_after(rounds: list[dict[str, Any]], room: int = 64) -> int:
    choice = LaneChoice("auto")
    for each in rounds:
        choice.after(**each, room=room)
    return choice.lanes


def test_the_busiest_worker_tells_whether_more_lanes_pay():
    before = [round_of(6, 6, train=(10.0, 10.0))] * TRIAL
    assert lanes_after(before + [round_of(6, 6, train=(11.0, 4.0))] * TRIAL) == 1
    assert lanes_after(before + [round_of(6, 6, train=(8.0, 8.0))] * TRIAL) == 4


def test_tests_of_clients_models_count_because_they_keep_the_lanes_waiting():
    before = [round_of(6, 6, train=(10.0, 10.0), own_test=90.0)] * TRIAL
    assert lanes_after(before + [round_of(6, 6, train=(4.0, 4.0), own_test=95.0)] * TRIAL) == 1
    assert lanes_after(before + [round_of(6, 6, train=(4.0, 4.0), own_test=80.0)] * TRIAL) == 4


def test_a_round_with_fewer_clients_of_a_worker_than_lanes_says_nothing():
    alone = [round_of(6, 6, train=(10.0, 10.0))] * TRIAL
    small = [round_of(1, 1, train=(99.0, 99.0))] * 9
    nobody = [round_of(0, 0, train=(1.0, 1.0))]
    assert lanes_after(nobody + alone + small) == 2
    assert lanes_after(alone + small + [round_of(6, 6, train=(8.0, 8.0))] * TRIAL + small) == 4


def test_one_small_round_does_not_end_the_trial():
    small = round_of(1, 1, train=(2.0, 2.0))
    assert lanes_after([round_of(6, 6, train=(10.0, 10.0))] * (TRIAL - 1) + [small]) == 2


@pytest.mark.parametrize(("clients", "room", "lanes"), [(5, 64, 4), (99, 3, 2), (99, 64, 16)])
def test_lanes_end_with_the_clients_of_a_worker_the_room_or_the_streams_of_a_gpu(
    clients, room, lanes
):
    rounds = []
    for seconds in (64.0, 32.0, 16.0, 8.0, 4.0, 2.0):
        rounds += [round_of(clients, 1, train=(seconds, seconds))] * TRIAL
    assert lanes_after(rounds, room) == lanes


def test_a_number_of_the_config_stays():
    choice = LaneChoice(3)
    for seconds in (1.0, 2.0, 3.0, 4.0, 5.0):
        choice.after(**round_of(6, 6, train=(seconds, seconds)), room=16)
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
    assert set(experiment.clients._trainers) <= {experiment.clients.net}
    return digests.rounds, noted.lanes


@pytest.mark.parametrize(("gain", "kept"), [(1e-9, 1), (1e9, 2)], ids=["is too little", "pays"])
def test_a_run_that_tries_lanes_has_the_bits_of_one_lane(monkeypatch, gain, kept):
    monkeypatch.setattr(LaneRoom, "most", lambda self, made: 3)
    monkeypatch.setattr(lane_choice, "_GAIN", gain)
    config = merge(FIVE_CLIENTS, {"rounds": 2 * TRIAL + 1, "model": {"name": "lenet"}})
    alone, of_one = played(config, 1)
    tried, lanes = played(config, "auto")
    assert tried == alone
    assert of_one == [1] * (2 * TRIAL + 1)
    assert lanes == [1] * TRIAL + [2] * TRIAL + [kept]
    assert not lanes_alive()


def test_a_run_stores_and_shows_its_lanes(monkeypatch, tmp_path):
    monkeypatch.setattr(LaneRoom, "most", lambda self, made: 2)
    config = {**tiny.RUN, "rounds": TRIAL + 1, "runtime": {"lanes": "auto"}}
    run = mpifl.run(config, out=tmp_path / "run", quiet=True)
    assert run.rounds["lanes"].tolist() == [1] * TRIAL + [2]
    shown = CliRunner().invoke(main, ["show", str(run.path)], env={"COLUMNS": "200"}).output
    assert f"1 from round 1, 2 from round {TRIAL + 1}" in shown


def test_no_more_lanes_are_tried_than_a_rank_has_clients(monkeypatch):
    monkeypatch.setattr(LaneRoom, "most", lambda self, made: 16)
    monkeypatch.setattr(lane_choice, "_GAIN", 1e9)
    config = merge(FIVE_CLIENTS, {"rounds": 3 * TRIAL, "participation": {"fraction": 0.6}})
    _, lanes = played(config, "auto")
    assert lanes == [1] * TRIAL + [2] * 2 * TRIAL


def communicator(cores: int, workers: int, cards: list[str]) -> Any:
    """Of a node with so many cores and workers; the ranks compute on these GPUs."""
    node = SimpleNamespace(allgather=lambda own: cards)
    return SimpleNamespace(cores=cores, worker_on_node=lambda: (0, workers), node=node)


@pytest.mark.parametrize(
    ("own", "of_node", "workers", "threads", "lanes"),
    [(8, 8, 1, 1, 8), (8, 8, 2, 1, 4), (8, 8, 3, 2, 1), (2, 8, 2, 1, 2), (1, 1, 3, 1, 1)],
)
def test_on_a_cpu_there_is_room_for_a_lane_for_each_core_that_no_other_worker_needs(
    monkeypatch, own, of_node, workers, threads, lanes
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(own)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    room = LaneRoom(communicator(of_node, workers, [""] * workers), torch.device("cpu"))
    assert room.most(made=0) == lanes


@pytest.mark.parametrize(
    ("cards", "made", "lanes"),
    [(["a"], 2, 9), (["a", "a"], 2, 5), (["b", "a", "b"], 2, 9), (["a"], 0, 4)],
    ids=["alone", "two share it", "a GPU each", "one lane so far"],
)
def test_on_a_gpu_there_is_room_while_its_free_memory_lasts_for_all_who_share_it(
    monkeypatch, cards, made, lanes
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 20)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 20)
    card = SimpleNamespace(uuid="a")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    room = LaneRoom(communicator(8, len(cards), cards), torch.device("cuda", 0))
    assert room.most(made) == lanes
