"""Local steps on the GPU: the same bits each time, and the same bits as a CUDA graph."""

from __future__ import annotations

import gc
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from matrix import FACTORS

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.options import options
from mpifl.runner.out_of_memory import line
from mpifl.runner.schema import resolve
from mpifl.training.local import Local
from mpifl.training.replay import CudaGraph
from tests.training.test_replay import REPLAYED, TERMS, net_for, tiny_loss, trained


def assert_same(one, other) -> None:
    for first, second in zip(one, other, strict=True):
        assert torch.equal(first, second)


def check(net, loss: str, local: Local, **terms) -> None:
    eager, none = trained(net, tiny_loss(loss), local, "no", **terms)
    graphs, recordings = trained(net, tiny_loss(loss), local, "yes", **terms)
    assert (none, recordings) == (0, 2)
    assert_same(eager, graphs)


@pytest.mark.parametrize("loss", FACTORS["loss"])
def test_steps_with_every_loss_have_the_same_bits_each_time(device, loss):
    net = net_for(loss, device=device)
    local = Local(lr=0.01, momentum=0.9)
    first, _ = trained(net, tiny_loss(loss), local, "no")
    assert_same(first, trained(net, tiny_loss(loss), local, "no")[0])


@pytest.mark.parametrize("loss", sorted(REPLAYED))
def test_losses_have_the_same_bits_as_graphs(device, loss):
    check(net_for(loss, device=device), loss, Local(lr=0.01, momentum=0.9))


@pytest.mark.parametrize("gradient", FACTORS["gradient"])
@pytest.mark.parametrize("terms", ["nothing", "everything"])
def test_gradients_have_the_same_bits_as_graphs(device, gradient, terms):
    local = resolve({"local": {"gradient": gradient, "clip": 0.5, "weight_decay": 0.01}}).local
    check(net_for("ce", device=device), "ce + man", local, **TERMS[terms])


@pytest.mark.parametrize("model", ["lenet", "resnet20"])
@pytest.mark.parametrize("norm", FACTORS["norm"])
def test_norms_have_the_same_bits_as_graphs(device, norm, model):
    check(net_for("ce", model, FACTORS["norm"][norm], device=device), "ce", Local(lr=0.01))


@pytest.mark.parametrize("model", ["resnet20", "vit"])
def test_bfloat16_has_the_same_bits_as_graphs(device, model):
    net = net_for("ce", model, device=device)
    net.bf16 = True
    check(net, "ce", Local(lr=0.01))


def test_a_graph_leaves_outputs_of_earlier_calls_alone(gpu):
    total = torch.zeros(3, device=gpu)

    def function(x):
        total.copy_(2 * x)
        return total, x.sum()

    graph = CudaGraph(function, [torch.ones(3, device=gpu)], [total])
    _, first = graph(torch.ones(3, device=gpu))
    same, second = graph(torch.full((3,), 2.0, device=gpu))
    assert same is total
    assert (first.item(), second.item(), total.tolist()) == (3.0, 6.0, [4.0] * 3)


def test_what_cannot_be_captured_leaves_the_stream_and_the_device_usable(gpu):
    program = Path(__file__).parent / "programs" / "failed_capture.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("loss", ["ce + man", "ce + rcl"])
def test_graphs_read_their_constants_when_other_memory_has_been_collected(device, loss):
    net = net_for(loss, device=device)
    local = Local(lr=0.01)
    eager, _ = trained(net, tiny_loss(loss), local, "no")
    graphs, recordings = trained(
        net, tiny_loss(loss), local, "yes", before_client=partial(collect, device)
    )
    assert recordings == 2
    assert_same(eager, graphs)


def collect(device: torch.device) -> None:
    """Free what nothing refers to, and let other tensors take its place."""
    gc.collect()
    for size in (1, 4, 16, 64, 256, 1024):
        torch.full((size,), 1e9, device=device)


@options
class TooLarge(CrossEntropy):
    """Cross-entropy that asks for a thousand terabytes."""

    def __call__(self, step):
        torch.empty(1 << 50, dtype=torch.uint8, device=step.x.device)
        return super().__call__(step)


def test_out_of_memory_is_one_line_with_what_to_lower(gpu):
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trained(net_for("ce", device=gpu), TooLarge(), Local(), "auto")
    text = line(caught.value)
    assert "\n" not in text
    assert text.startswith("GPU 0 of ")
    for part in ("in training", "GiB were asked for", "are free; lower local.batch"):
        assert part in text
