"""Many small clients (W1) on a GPU: rounds on one rank and on several, and how busy it is."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import click
import torch
from torch import nn

from benchmarks import bare, workloads
from benchmarks.gpu_ranks import MORE, seconds_of_rounds
from benchmarks.gpu_table import Found, Line, Ratio
from benchmarks.gpu_work import Size, experiment_of, synchronized
from mpifl.parallel import launcher
from mpifl.parallel.communicator import Communicator
from mpifl.training.experiment import Experiment

W1_ROUNDS = 1_500


def small_clients(size: Size) -> Found:
    """W1, on one rank: bare steps, then whole rounds."""
    experiment = experiment_of(size, workloads.MANY_CLIENTS, 1)
    yield Line("W1, bare loop, eager: a round", *_extrapolated(_bare_round(size, experiment)))
    for what, changes in (
        ("eager", {"runtime": {"graphs": "no"}}),
        ("graphs", {"runtime": {"graphs": "yes"}}),
        ("graphs, bf16", {"runtime": {"graphs": "yes"}, "precision": "bf16"}),
        ("graphs, tf32", {"runtime": {"graphs": "yes"}, "precision": "tf32"}),
    ):
        experiment = experiment_of(size, workloads.MANY_CLIENTS, size.rounds + MORE, **changes)
        seconds = seconds_of_rounds(experiment, Communicator())
        bar = 60.0 if what == "graphs" else None
        note = f"{W1_ROUNDS:,} rounds from {len(seconds)}, tests left out"
        yield Line(f"W1, {what}: a round", *_extrapolated(seconds), bar, note)


def lanes(size: Size) -> Found:
    """W1, on one rank that trains one client or several at once."""
    one_lane = 0.0
    for count in size.lanes:
        runtime = {"graphs": "yes", "lanes": count}
        experiment = experiment_of(
            size, workloads.MANY_CLIENTS, size.rounds + MORE, runtime=runtime
        )
        seconds = seconds_of_rounds(experiment, Communicator())
        if count == "auto":
            seconds = seconds[2 * len(seconds) // 3 :]  # after those on trial
        a_round, all_rounds = _extrapolated(seconds)
        yield Line(f"W1, graphs, lanes = {count}: a round", a_round, all_rounds, 60.0)
        if count == 1:
            one_lane = a_round
        else:
            yield Ratio(f"W1, graphs, lanes = 1 / {count}", one_lane / a_round, 2.0)


def _extrapolated(seconds: list[float]) -> tuple[float, float]:
    """Seconds of a round, and of all of W1."""
    mean = sum(seconds) / len(seconds)
    return mean, W1_ROUNDS * mean


def _bare_round(size: Size, experiment: Experiment) -> list[float]:
    """Seconds of rounds of the bare loop."""
    clients = experiment.clients
    module: nn.Module = bare.pfl_cnn()
    if size.changes:
        module = nn.Sequential(copy.deepcopy(clients.net.module), _Logits())
    loop = bare.Bare(module, clients)
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


def busy(size: Size) -> Found:
    """The share of time in which at least one kernel runs, as torch.profiler sees it."""
    if size.kind != "cuda":
        return
    from torch.profiler import ProfilerActivity, profile

    experiment = experiment_of(size, workloads.MANY_CLIENTS, 12, runtime={"graphs": "yes"})
    seconds_of_rounds(experiment, Communicator())
    experiment = experiment_of(size, workloads.MANY_CLIENTS, 12, runtime={"graphs": "yes"})
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


def sharing(size: Size) -> Found:
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
