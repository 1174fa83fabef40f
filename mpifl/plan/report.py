"""`mpifl plan`: what a run would be and cost, printed; nothing is written, and no MPI is needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from mpifl.options import BadInput
from mpifl.parallel.devices import device_for, settle, threads_of
from mpifl.plan import cost
from mpifl.plan.dry_run import DryRun, dry_run
from mpifl.plan.profile import Profile, measure, on_gpu, resident
from mpifl.runner import schema
from mpifl.terminal import duration, facts, say, say_paragraph, say_table, size, table

_ROW_EACH = 40  # up to so many clients have a row each
_QUANTILES = {"least": 0, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "most": 100}
_NODE = 3  # ranks on a node, where no number is given


def plan(
    path: str, assignments: Sequence[str], ranks: int | None = None, timing: bool = True
) -> None:
    """Print the plan of the config at `path`, for `ranks` ranks or for a range of them; raises
    BadInput as a run.
    """
    config = schema.resolve(schema.raw(path, assignments))
    device, missing = _device(config)
    settle(device, threads_of(config.runtime.threads))
    process = resident()
    planned = dry_run(config, device)
    measured = measure(planned) if timing else None
    peak = resident()
    loads = cost.loads(planned, [ranks] if ranks else _ranks(planned))
    say(schema.text(config))
    _partition(planned)
    _messages(planned, loads[0])
    states = cost.remembered(planned, loads[0].cohort)
    _memory(
        planned,
        measured,
        ranks or _NODE,
        states,
        process and process[0],
        measured and peak and peak[1],
    )
    _rounds(planned, measured, loads)
    for note in _notes(planned, measured, device, missing, loads):
        say_paragraph(note)


def _ranks(planned: DryRun) -> list[int]:
    """1, then a server and 1, 2, 4 ... workers, up to one for every client of a round."""
    cohort = len(
        planned.config.participation.cohort(planned.config.seed, 1, planned.config.clients)
    )
    return [1, *(1 + 2**i for i in range(8) if 2**i < cohort), 1 + cohort][:9]


def _device(config: schema.Config) -> tuple[torch.device, bool]:
    """Where to time, and whether the device that the config asks for is missing here."""
    try:
        return device_for(config.runtime.device, 0, 1), False
    except BadInput:  # a cluster's login node has no GPU, and plans are made there
        return torch.device("cpu"), True


def _partition(planned: DryRun) -> None:
    clients, data = planned.clients, planned.data
    counts, sizes = clients.counts(), clients.sizes
    share = 100 * counts.max(1) / np.maximum(sizes, 1)
    columns = np.stack([sizes, (counts > 0).sum(1), share, clients.steps(np.arange(len(clients)))])
    title = (
        f"partition: {len(clients):,} clients of {sizes.min():,} to {sizes.max():,} samples, median "
        f"{np.median(sizes):,g}; {sizes.sum():,} of {len(data.labels):,} of {data.name}, {data.classes} classes"
    )
    each = len(clients) <= _ROW_EACH
    names = map(str, range(len(clients))) if each else _QUANTILES
    rows = columns.T if each else np.percentile(columns, list(_QUANTILES.values()), axis=1)
    made = table(
        "client" if each else "of the clients",
        "samples",
        "classes",
        "largest class",
        "steps a round",
    )
    for name, row in zip(names, rows, strict=True):
        made.add_row(name, *_figures(row))
    say_table(title, made)


def _figures(row: Sequence[float]) -> Iterator[str]:
    samples, classes, share, steps = row
    yield from (f"{samples:,.0f}", f"{classes:,.0f}", f"{share:.0f} %", f"{steps:,.0f}")


def _messages(planned: DryRun, load: cost.Load) -> None:
    net, config = planned.clients.net, planned.config
    sent, state = cost.traffic(planned, load.cohort), planned.state.flat()
    kept, written = cost.stored(planned)
    down, up = sent.down * load.cohort, sent.up * load.cohort
    made = facts()
    made.add_row(
        "model", f"{config.model.name}: {len(net.weights):,} parameters, {size(net.weights.nbytes)}"
    )
    made.add_row("its buffers", f"{len(net.buffers):,} numbers, {size(net.buffers.nbytes)}")
    made.add_row("to a client", f"{size(sent.down)} a round: {_names(planned.sent.vectors())}")
    made.add_row("from a client", f"{size(sent.up)} a round: {_names(planned.reply.flat())}")
    whole = (down + up) * config.rounds
    made.add_row(
        "a real federation", f"{size(down)} down, {size(up)} up a round; {size(whole)} in all"
    )
    made.add_row(
        "MPI, a rank",
        f"{size(sent.broadcast)} in a Bcast, {size(sent.reduce)} in a Reduce; alone nothing",
    )
    made.add_row(
        "a client remembers",
        f"{size(cost.size_of(state))}: {_names(state)}" if state else "nothing",
    )
    made.add_row("on disk", f"{size(written)} of weights, of {kept} round{_s(kept)}")
    say_table(f"messages of a round of {_mean(load.cohort)} clients", made)


def _names(vectors: Iterable[str]) -> str:
    """Vectors in words: the algorithm's by the names that it gave them."""
    return ", ".join(name.removeprefix("algorithm.") for name in vectors)


def _memory(
    planned: DryRun,
    measured,
    ranks: int,
    states: int,
    process: int | None,
    peak: int | None,
) -> None:
    """One rank's memory, and a node's that runs `ranks` of them; `process` and `peak` are this
    process's.
    """
    rows = list(cost.memory(planned, measured, ranks))
    if process:
        rows.append(("Python and its libraries (measured)", process))
    here = 0 if planned.config.data.path else planned.data.bytes
    if peak and (rest := peak - here - sum(count for _, count in rows)) > 0:
        rows.append(("Other peak memory: a batch of the test, workspaces (measured)", rest))
    one = sum(count for _, count in rows)
    data, server, folder = (
        planned.data.bytes,
        cost.size_of(planned.server),
        planned.config.runtime.states_folder,
    )
    made = facts()
    for name, count in rows:
        made.add_row(name, size(count))
    made.add_row("a rank" + ("" if measured else ", without activations"), size(one))
    made.add_row("the data set, once a node (and on every GPU)", size(data))
    if server:
        made.add_row("what the server remembers", size(server))
    if states:
        where = f"on disk, in {folder}" if folder else "spread over the nodes"
        made.add_row(f"what all clients remember, and the round's anew, {where}", size(states))
    held = 0 if folder else states
    made.add_row(f"a node of {ranks} rank{_s(ranks)}", size(ranks * one + data + server + held))
    say_table("memory", made)


def _rounds(planned: DryRun, measured: Profile | None, loads: list[cost.Load]) -> None:
    rounds = planned.config.rounds
    times = ("a round", f"{rounds:,} rounds") if measured else ()
    made = table("ranks", "workers", "its clients", "its steps", *times)
    for load in loads:
        row = [
            str(load.ranks),
            str(max(1, load.ranks - 1)),
            _mean(load.clients),
            f"{load.longest:,.0f}",
        ]
        if measured:
            one, whole = cost.seconds(planned, measured, load)
            row += [f"{one:.3g} s", duration(whole)]
        made.add_row(*row)
    load = loads[0]
    say_table(
        f"a round: {_mean(load.cohort)} clients, {load.steps:,.0f} steps; and the worker with the most",
        made,
    )


def _notes(
    planned: DryRun, measured, device: torch.device, missing: bool, loads: list
) -> Iterator[str]:
    """What the figures rest on."""
    batches, threads = (
        planned.config.evaluation.batches(planned.data.test),
        torch.get_num_threads(),
    )
    cores = os.cpu_count() or 1
    if measured:
        yield (
            f"Measured here, on {device} with {threads} thread{_s(threads)}: {_short(measured.step)} a step of "
            f"{measured.batch} sample{_s(measured.batch)}, {_short(measured.client)} a client beside its steps, "
            f"{_short(measured.evaluation)} a batch of the test's {batches}. The times are made of these: "
            "without MPI and the disk, and with a core or a GPU for every rank."
        )
    waiting = [
        load.ranks for load in loads if measured and cost.server_is_last(planned, measured, load)
    ]
    if waiting:
        yield (
            f"From {waiting[0]} ranks on, workers wait for the server's test of {batches} batch"
            f"{'es' * (batches > 1)}: a larger "
            'evaluation.every or evaluation.where="shared" would shorten the round.'
        )
    if measured and device.type == "cpu" and loads[-1].ranks * threads > cores:
        yield f"This machine has {cores} cores: on it, more ranks than that take turns."
    if gpu := on_gpu(device):
        yield f"At its peak this process took {size(gpu)} of the GPU."
    if missing:
        yield "runtime.device is cuda, and here is no GPU: the run would take far less time than on this CPU."
    folder = Path("runs") / planned.config.name
    if folder.exists():
        yield f"{folder} exists: `mpifl run` would want --resume, --force or another --out."


def _short(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{1000 * seconds:.3g} ms"


def _mean(clients: float) -> str:
    return f"{clients:,.0f}" if clients >= 100 else f"{clients:.3g}"


def _s(count: int) -> str:
    return "s" * (count != 1)
