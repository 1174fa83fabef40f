"""What a GPU makes of mpifl: one table, printed line by line, within six minutes on one H100.

`--dry-run` does the same with little work on the CPU, which proves the program and no number.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import click
import torch
from torch import nn
from torch.nn import functional

from benchmarks import bare, methods, workloads
from benchmarks.gpu_ranks import MORE, seconds_of_rounds
from benchmarks.pairs import interleave
from benchmarks.plain_resnet import PlainResNet56
from mpifl.config import merge
from mpifl.parallel import launcher
from mpifl.parallel.communicator import Communicator
from mpifl.training.experiment import Experiment
from mpifl.training.messages import ClientState, Sent

SECONDS = 330.0
"""after which nothing more is begun"""
W1_ROUNDS = 1_500
FEDALIGN_STEPS = 16 * 20 * 49
"""of a round: 16 clients, 20 epochs, 3,125 samples each in batches of 64"""


@dataclass(frozen=True)
class Size:
    """How much is done."""

    kind: str
    """of device"""
    rounds: int
    """of W1, that are timed"""
    steps: int
    """of ResNet-56, that are timed"""
    pairs: int
    """of each method"""
    ranks: tuple[int, ...]
    methods: tuple[str, ...]
    changes: dict[str, Any]
    """of the configs"""


FULL = Size("cuda", 60, 60, 5, (1, 2, 3, 4), tuple(methods.METHODS), {})
DRY = Size(
    "cpu",
    *(2, 2, 1),
    (2,),
    ("man",),
    {
        "clients": 8,
        "data": {"options": {"shape": [3, 8, 8], "train": 80}},
        "model": {"name": "lenet"},
        "local": {"batch": 2},
    },
)
"""a tiny net in place of all"""


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    seconds: float
    """of a round, or of a step"""
    extrapolated: float | None = None
    """seconds"""
    bar: float | None = None
    """what the last number must stay under"""
    note: str = ""

    def text(self, bars: bool = True) -> str:
        """The line, as it is printed, with what it is held to or without."""
        extrapolated = "" if self.extrapolated is None else f"{self.extrapolated:,.1f} s"
        cells = f"{self.what:<46} {1000 * self.seconds:>10.3f} ms {extrapolated:>12}"
        return f"{cells}  {self._verdict() if bars else '':<12} {self.note}".rstrip()

    def _verdict(self) -> str:
        if self.bar is None:
            return ""
        value = self.seconds if self.extrapolated is None else self.extrapolated
        return f"< {self.bar:g} s: {'yes' if value < self.bar else 'NO'}"


@dataclass(frozen=True)
class Ratio:
    """One line of the table: a number that has no unit."""

    what: str
    value: float
    bar: float | None = None
    least: bool = True
    """whether the bar is the least that it may be, not the most"""
    note: str = ""

    def text(self, bars: bool = True) -> str:
        """The line, as it is printed, with what it is held to or without."""
        cells = f"{self.what:<46} {self.value:>10.3f} {'':>15}"
        return f"{cells}  {self._verdict() if bars else '':<12} {self.note}".rstrip()

    def _verdict(self) -> str:
        if self.bar is None:
            return ""
        is_met = self.value >= self.bar if self.least else self.value < self.bar
        return f"{'>=' if self.least else '<'} {self.bar:g}: {'yes' if is_met else 'NO'}"


Found = Iterator[Line | Ratio]


def gpu(dry_run: bool = False) -> list[Line | Ratio]:
    """what a GPU makes of many small clients, of ResNet-56 and of each method, in six minutes"""
    size = DRY if dry_run else FULL
    bars = not dry_run  # which are about a GPU
    if size.kind == "cuda" and not torch.cuda.is_available():
        raise click.ClickException(
            "gpu: expected a CUDA GPU; torch sees none; --dry-run does a little of it on the CPU"
        )
    name = torch.cuda.get_device_name(0) if size.kind == "cuda" else "a dry run on the CPU"
    click.echo(f"\ngpu: {name}, torch {torch.__version__}")
    began = time.monotonic()
    found: list[Line | Ratio] = []
    for part in (_small_clients, _resnet, _busy, _sharing, _methods):
        try:
            for line in part(size):
                found.append(line)
                click.echo(line.text(bars))
                if time.monotonic() - began > SECONDS:
                    click.echo("time is up: what follows was not measured")
                    return found
        except Exception as error:  # of one part; the others are worth having
            if dry_run:
                raise
            click.echo(f"{part.__name__[1:]}: {type(error).__name__}: {error}".partition("\n")[0])
    return found


def synchronized(action: Callable[[], object]) -> Callable[[], float]:
    """`action` as a function that returns its seconds, all of the device's work included."""

    def timed() -> float:
        _wait()
        began = time.perf_counter()
        action()
        _wait()
        return time.perf_counter() - began

    return timed


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _experiment(size: Size, raw: dict, rounds: int, **changes: Any) -> Experiment:
    tf32 = changes.get("precision") == "tf32"
    config = merge(merge(raw, size.changes), changes)
    return workloads.experiment(config, rounds, torch.device(size.kind), tf32)


def _small_clients(size: Size) -> Found:
    """W1, on one rank: bare steps, then whole rounds."""
    experiment = _experiment(size, workloads.MANY_CLIENTS, 1)
    yield Line("W1, bare loop, eager: a round", *_extrapolated(_bare_round(size, experiment)))
    for what, changes in (
        ("eager", {"runtime": {"graphs": "no"}}),
        ("graphs", {"runtime": {"graphs": "yes"}}),
        ("graphs, bf16", {"runtime": {"graphs": "yes"}, "precision": "bf16"}),
        ("graphs, tf32", {"runtime": {"graphs": "yes"}, "precision": "tf32"}),
    ):
        experiment = _experiment(size, workloads.MANY_CLIENTS, size.rounds + MORE, **changes)
        seconds = seconds_of_rounds(experiment, Communicator())
        bar = 60.0 if what == "graphs" else None
        note = f"{W1_ROUNDS:,} rounds from {len(seconds)}, tests left out"
        yield Line(f"W1, {what}: a round", *_extrapolated(seconds), bar, note)


def _extrapolated(seconds: list[float]) -> tuple[float, float]:
    """Seconds of a round, and of all of W1."""
    mean = sum(seconds) / len(seconds)
    return mean, W1_ROUNDS * mean


def _bare_round(size: Size, experiment: Experiment) -> list[float]:
    """Seconds of rounds of the bare loop."""
    clients = experiment.clients
    module = copy.deepcopy(clients.net.module) if size.changes else bare.pfl_cnn()
    loop = bare.Bare(nn.Sequential(module, _Logits()) if size.changes else module, clients)
    w = loop.weights.clone()
    plan = experiment.plan(1, 1)
    batches = [loop.batches(int(client), 1) for client in plan.cohort]

    def round() -> None:
        for each in batches:
            loop.play(w, each)

    timed = synchronized(round)
    timed()
    return [timed() for _ in range(max(1, size.rounds // 6))]


class _Logits(nn.Module):
    """The logits of an mpifl network's output."""

    def forward(self, output: Any) -> torch.Tensor:
        return output.logits


def _resnet(size: Size) -> Found:
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
    experiment = _experiment(size, merge(RESNET, local), 1, **changes)
    clients = experiment.clients
    sent = Sent({"w": clients.net.weights.clone()}, clients.net.buffers.clone())
    timed = synchronized(lambda: clients.play(0, 1, sent, ClientState({})))
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


def _busy(size: Size) -> Found:
    """The share of time in which at least one kernel runs, as torch.profiler sees it."""
    if size.kind != "cuda":
        return
    from torch.profiler import ProfilerActivity, profile

    experiment = _experiment(size, workloads.MANY_CLIENTS, 12, runtime={"graphs": "yes"})
    seconds_of_rounds(experiment, Communicator())
    experiment = _experiment(size, workloads.MANY_CLIENTS, 12, runtime={"graphs": "yes"})
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds_of_rounds(experiment, Communicator())
    ranges = []
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            ranges.append((event.time_range.start, event.time_range.end))
    note = "time with a kernel or copy under way, by torch.profiler, first round to last"
    yield Ratio("W1, graphs, one rank: GPU busy", busy_share(ranges), 0.8, note=note)


def busy_share(ranges: Iterable[tuple[float, float]]) -> float:
    """The share of the time from the first begin to the last end that some range covers.

    >>> busy_share([(0, 2), (1, 3), (9, 10)])
    0.4
    """
    covered = 0.0
    end = None
    first = 0.0
    for begin, stop in sorted(ranges):
        if end is None:
            first = end = begin
        covered += max(0.0, stop - max(begin, end))
        end = max(end, stop)
    if end is None or end == first:
        return 0.0
    return covered / (end - first)


def _sharing(size: Size) -> Found:
    """W1, on several ranks of one GPU."""
    mpirun = launcher.own_mpirun() or "mpirun"
    for ranks in size.ranks:
        work = {"kind": size.kind, "rounds": size.rounds, "changes": size.changes}
        command = [mpirun, "-n", str(ranks), sys.executable, "-m", "benchmarks.gpu_ranks"]
        done = subprocess.run(
            [*command, json.dumps(work)], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            click.echo(f"W1 on {ranks} ranks failed: {_reason(done.stderr)}")
            continue
        seconds = json.loads(done.stdout.splitlines()[-1])
        workers = "server and worker" if ranks == 1 else f"{ranks - 1} of them workers"
        what = f"W1, graphs, {ranks} ranks on one GPU: a round"
        yield Line(what, *_extrapolated(seconds), 60.0, workers)


def _reason(errors: str) -> str:
    """The line that names the exception, or else the last one."""
    lines = errors.strip().splitlines() or ["it said nothing"]
    named = [line for line in lines if "Error" in line]
    return (named or lines)[-1]


def _methods(size: Size) -> Found:
    """A local step with each method : a plain one, both as graphs where they can be."""
    plain = _method(size, {})
    for name in size.methods:
        changes, bar, note = methods.METHODS[name]
        other = _method(size, methods.HEAD) if "model" in changes else plain
        pairs = interleave(_method(size, changes), other, size.pairs)
        ratio = replace(Ratio(name, 0.0), what=f"ResNet-56, {name} : plain, a step")
        median = float(sorted(pairs.ratios())[len(pairs.ours) // 2])
        yield replace(ratio, value=median, bar=bar, least=False, note=note)


def _method(size: Size, changes: dict) -> Callable[[], float]:
    """A few local steps, recorded where that is possible."""
    steps = methods.steps(merge(changes, size.changes), torch.device(size.kind))
    for _ in range(3):
        steps()
    return synchronized(steps)
