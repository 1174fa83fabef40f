"""ResNet-56 on a GPU: a local step in each memory format, and of each method."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from benchmarks import methods, workloads
from benchmarks.gpu_table import Found, Line, Ratio
from benchmarks.gpu_work import Size, device_of, experiment_of, synchronized
from benchmarks.pairs import interleave
from benchmarks.plain_resnet import PlainResNet56
from mpifl.config import merge
from mpifl.training.client import Task, play
from mpifl.training.client_states import ClientState
from mpifl.training.messages import Sent

FEDALIGN_STEPS = 16 * 20 * 49
"""of a round: 16 clients, 20 epochs, 3,125 samples each in batches of 64"""


def resnet(size: Size) -> Found:
    """ResNet-56 at batch 64: seconds a step, and a round of FedAlign's setting."""
    if not size.changes:
        yield _fedalign("ResNet-56, plain module, optim.SGD: a step", _usual_steps(size))
    measured = {}
    for what, changes in (
        ("eager, contiguous", {"graphs": "no", "channels_last": "no"}),
        ("eager, channels-last", {"graphs": "no", "channels_last": "yes"}),
        ("graphs, contiguous", {"graphs": "yes", "channels_last": "no"}),
        ("graphs, channels-last", {"graphs": "yes", "channels_last": "yes"}),
    ):
        measured[what] = _step(size, {"runtime": changes})
        yield _fedalign(f"ResNet-56, {what}: a step", measured[what])
    for memory in ("contiguous", "channels-last"):
        runtime = {"graphs": "yes", "channels_last": "no" if memory == "contiguous" else "yes"}
        seconds = _step(size, {"runtime": runtime, "precision": "bf16"})
        yield _fedalign(f"ResNet-56, graphs, {memory}, bf16: a step", seconds)
    best = {}
    for kind in ("eager", "graphs"):
        best[kind] = min(seconds for what, seconds in measured.items() if what.startswith(kind))
    yield Ratio("ResNet-56: eager / graphs, the faster formats", best["eager"] / best["graphs"], 3)


def _fedalign(what: str, seconds: float) -> Line:
    note = "a round of 16 clients x 20 epochs; then < 12"
    return Line(what, seconds, FEDALIGN_STEPS * seconds, 35.0, note)


RESNET = merge(
    workloads.RESNET,
    {"partition": {"name": "iid"}, "data": {"options": {"classes": 100, "train": 16 * 256}}},
)


def _step(size: Size, changes: dict) -> float:
    """Seconds of a local step, of many in one client's round."""
    local = {"local": {"steps": size.steps}}
    experiment = experiment_of(size, merge(RESNET, local), 1, **changes)
    clients = experiment.clients
    sent = Sent({"w": clients.net.weights.clone()}, clients.net.buffers.clone())
    timed = synchronized(lambda: play(clients, Task(0, 1, sent, ClientState({}))))
    timed()
    return min(timed() for _ in range(2)) / size.steps


def _usual_steps(size: Size) -> float:
    """Seconds of a step of the usual loop, in channels-last memory."""
    module = PlainResNet56(100).to(size.kind)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    x = torch.randn(64, 3, 32, 32, device=size.kind).to(memory_format=torch.channels_last)
    y = torch.arange(64, device=size.kind)

    def steps() -> None:
        for _ in range(size.steps):
            optimizer.zero_grad()
            functional.cross_entropy(module(x), y).backward()
            optimizer.step()

    timed = synchronized(steps)
    timed()
    return min(timed() for _ in range(2)) / size.steps


def methods_of_field(size: Size) -> Found:
    """A local step with each method : a plain one, both as graphs where they can be."""
    plain = _method(size, {})
    for name in size.methods:
        changes, bar, note = methods.METHODS[name]
        other = _method(size, methods.HEAD) if "model" in changes else plain
        pairs = interleave(_method(size, changes), other, size.pairs)
        median = float(sorted(pairs.ratios())[len(pairs.ours) // 2])
        what = f"ResNet-56, {name} : plain, a step"
        yield Ratio(what, median, bar, least=False, note=note)


def _method(size: Size, changes: dict) -> Callable[[], float]:
    """A few local steps, recorded where that is possible."""
    steps = methods.steps(merge(changes, size.changes), device_of(size.kind))
    for _ in range(3):
        steps()
    return synchronized(steps)
