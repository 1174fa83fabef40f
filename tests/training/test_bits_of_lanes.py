"""Clients that a rank trains at the same time, with recorded steps, end in the bits that each has
alone without.
"""

from __future__ import annotations

import sys
import threading

import pytest
import tiny
import torch
from matrix import FACTORS, impossible, raw

from mpifl.config import merge
from mpifl.models.resnet56 import ResNet20
from mpifl.training.callback import Callback
from mpifl.training.progress import Progress
from mpifl.training.rounds import run
from tests.training.test_lanes import FIVE_CLIENTS, LANES


class Replayed(Callback):
    """How many steps of a run were recorded ones."""

    def __init__(self) -> None:
        self.steps = 0

    def round_finished(self, progress: Progress, last: bool) -> None:
        self.steps += progress.figures["steps_replayed"]


def played(config: dict, lanes: int, graphs: str) -> tuple[list, int]:
    """What identifies two rounds of four of five clients; and how many steps were replayed."""
    runtime = {"runtime": {"lanes": lanes, "graphs": graphs}}
    digests = tiny.Digests()
    replayed = Replayed()
    experiment = tiny.experiment(merge(merge(config, FIVE_CLIENTS), runtime))
    run(experiment, tiny.alone(), [digests, replayed])
    assert len(digests.rounds) == 2
    return digests.rounds, replayed.steps


def assert_same_bits(config: dict) -> int:
    """On several lanes with recorded steps, and on one without; how many steps were replayed."""
    alone, none = played(config, 1, "no")
    together, replayed = played(config, LANES, "yes")
    assert together == alone
    assert none == 0
    return replayed


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", FACTORS["algorithm"])
def test_algorithms_replayed_on_lanes_have_the_bits_of_one_lane_without(algorithm):
    assert assert_same_bits(raw({"algorithm": algorithm, "norm": "group"})) > 0


@pytest.mark.parametrize("algorithm", ["fedcm", "fedlesam", "fedlesam, feddyn"])
def test_algorithms_that_change_the_chosen_gradient_have_the_bits_of_one_lane(algorithm):
    choice = {"algorithm": algorithm, "gradient": "asam", "model": "mlp", "loss": "ce + man"}
    assert assert_same_bits(raw(choice)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("loss", FACTORS["loss"])
def test_losses_have_the_bits_of_one_lane(monkeypatch, loss):
    monkeypatch.setattr(ResNet20, "depth", 1)
    choice = {"loss": loss, "model": "lenet"}
    if impossible(choice):
        choice["model"] = "resnet20"
    assert_same_bits(raw(choice))


@pytest.mark.slow
@pytest.mark.parametrize("norm", FACTORS["norm"])
def test_norms_have_the_bits_of_one_lane(norm):
    assert_same_bits(raw({"norm": norm, "model": "lenet"}))


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        {"local": {"momentum_state": "persist", "gradient": "asam", "nesterov": True}},
        {"local": {"optimizer": "adamw", "momentum": 0, "momentum_state": "persist"}},
        {"local": {"loss": "ce + moon"}, "model": {"projection": 4}},
        {"model": {"norm": "batch"}, "buffers": "local"},
        {"model": {"norm": "batch"}, "buffers": "pooled", "data": {"augment": {"flip": 0.5}}},
        {"precision": "bf16", "local": {"loss": "mixup(ce) + man"}},
        {
            "model": {"norm": "batch"},
            "holdout": {"ratio": 3},
            "evaluation": {"clients": True, "models": ["cohort", "all"]},
        },
    ],
    ids=lambda config: ", ".join(config),
)
def test_options_have_the_bits_of_one_lane(config):
    assert_same_bits(merge({"model": {"name": "lenet"}}, config))


WITH_DROPOUT = """
from torch import nn

def build(classes, channels, size):
    layers = [nn.Flatten(), nn.Linear(channels * size[0] * size[1], 8)]
    for _ in range(20):
        layers += [nn.Dropout(0.1), nn.Linear(8, 8)]
    return nn.Sequential(*layers, nn.Linear(8, classes))
"""


def test_dropout_has_the_bits_of_one_lane(tmp_path, monkeypatch):
    (tmp_path / "with_dropout.py").write_text(WITH_DROPOUT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MPIFL_FACTORIES", "with_dropout")
    assert_same_bits({"model": {"name": "module", "factory": "with_dropout:build"}})
    sys.modules.pop("with_dropout")


def test_two_passes_in_bfloat16_have_the_same_bits_whatever_other_threads_do():
    net = tiny.net("lenet", dtype=torch.float32)
    net.bf16 = True
    images, _ = tiny.batch(dtype=torch.float32)

    def gradient(meanwhile) -> torch.Tensor:
        with net.cast():
            first = net(images).logits.square().mean()
            other = threading.Thread(target=meanwhile)
            other.start()
            other.join()
            value = first + net(images + 1).logits.square().mean()
        return net.take_gradient(value.float()).clone()

    def another_pass() -> None:
        with net.cast():
            pass

    assert gradient(another_pass).equal(gradient(lambda: None))
