"""`mpifl plan`: print what a run will do and cost. It writes nothing and needs no MPI."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mpifl.algorithms.fedrep import FedRep
from mpifl.net import trained
from mpifl.options import BadInput
from mpifl.parallel.devices import configure, device_for, threads_of
from mpifl.plan import cost
from mpifl.plan.cluster import Cluster
from mpifl.plan.cluster_report import show_cluster
from mpifl.plan.dry_run import DryRun, Labels, dry_run
from mpifl.plan.profile import Profile, measure, on_gpu, resident
from mpifl.runner import differences, schema
from mpifl.runner.idle_workers import idle_workers
from mpifl.runner.published import changes
from mpifl.terminal import (
    duration,
    facts,
    operations,
    percent,
    plural,
    say,
    say_paragraph,
    say_table,
    size,
    table,
)
from mpifl.training import flops
from mpifl.training.flops import Flops

_MOST_ROWS = 40  # with more clients, the table shows quantiles
_QUANTILES = {"least": 0, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "most": 100}
_MOST_ROUNDS = 1000  # that are drawn to say how clients differ
_MOST_LOADS = 9  # rows of the table of loads
_RANKS_OF_A_NODE = 3  # if no number is given


def plan(
    path: str,
    assignments: Sequence[str],
    ranks: int | None = None,
    timing: bool = True,
    every_option: bool = False,
    cluster: Cluster | None = None,
) -> DryRun:
    """Print the plan of the config at `path`, for `ranks` ranks or for a range of them; return it.

    With a `cluster`, which needs `timing`, it is for that one.

    With `every_option` it begins with the whole config, else with what differs from the defaults.
    Raises BadInput where the run would.
    """
    config = schema.resolve(schema.raw(path, assignments))
    device, is_missing = _device(config)
    configure(device, threads_of(config.runtime.threads))
    process = resident().now
    planned = dry_run(config, device)
    measured = measure(planned) if timing else None
    peak = resident().peak if timing else 0
    if cluster is not None:
        ranks = cluster.ranks
        cluster = replace(cluster, threads=torch.get_num_threads())
    loads = cost.loads(planned, [ranks] if ranks else _ranks(planned))
    _options(config, every_option)
    _partition(planned)
    counted = flops.count(planned.trial.clients)
    _messages(planned, loads[0])
    _operations(planned, counted, loads[0])
    rows = list(_memory_of_a_rank(planned, measured, ranks or _RANKS_OF_A_NODE, process, peak))
    if cluster is not None and measured is not None:
        of_a_node = cluster.ranks_per_node
        _memory(planned, rows, True, of_a_node, loads[0].cohort, cluster.nodes)
        show_cluster(planned, measured, cluster)
    else:
        _memory(planned, rows, measured is not None, ranks or _RANKS_OF_A_NODE, loads[0].cohort)
        _rounds(planned, measured, loads)
        for note in _notes(planned, measured, loads, device):
            say_paragraph(note)
    if is_missing:
        say_paragraph(
            "runtime.device is cuda, but here is no GPU: the run will be much faster than on this "
            "CPU."
        )
    changed = changes(schema.text(config))
    if changed:
        what = "; ".join(str(change) for change in changed)
        say_paragraph(f"Not the experiment whose published numbers it quotes: {what}.")
    folder = Path("runs") / config.name
    if folder.exists():
        say_paragraph(f"{folder} exists: `mpifl run` will need --resume, --force or another --out.")
    return planned


def _options(config: schema.Config, every_option: bool) -> None:
    if every_option:
        say(differences.marked_text(config, schema.text(config)))
        say("")
        return
    say(differences.short_text(config))
    say("# All other options have their defaults: --config prints them.\n")


def _ranks(planned: DryRun) -> list[int]:
    """1, then a server and 1, 2, 4 ... workers, up to one for every client of a round."""
    cohort = max(1, len(planned.cohort(1)))
    workers = [2**power for power in range(8) if 2**power < cohort]
    return [1, *(1 + count for count in workers), 1 + cohort][:_MOST_LOADS]


def _device(config: schema.Config) -> tuple[torch.device, bool]:
    """The device for timing, and whether the config's own device is missing here."""
    try:
        return device_for(config.runtime.device, 0, 1), False
    except BadInput:  # a cluster's login node has no GPU, and plans are made there
        return torch.device("cpu"), True


def _partition(planned: DryRun) -> None:
    data = planned.data
    clients = planned.held.participants
    counts = planned.clients.counts()[clients]
    sizes = planned.clients.sizes[clients]
    largest = 100 * counts.max(1) / np.maximum(sizes, 1)
    steps = planned.clients.steps(clients)
    columns = np.stack([sizes, (counts > 0).sum(1), largest, steps])
    if len(clients) <= _MOST_ROWS:
        head = "client"
        names = [str(client) for client in clients]
        rows = columns.T
    else:
        head = "of the clients"
        names = list(_QUANTILES)
        rows = np.percentile(columns, list(_QUANTILES.values()), axis=1)
    made = table(head, "samples", "classes", "largest class", "steps a round")
    for name, row in zip(names, rows, strict=True):
        of_samples, of_classes, of_largest, of_steps = row
        made.add_row(
            name,
            f"{of_samples:,.0f}",
            f"{of_classes:,.0f}",
            f"{of_largest:.0f} %",
            f"{of_steps:,.0f}",
        )
    title = (
        f"partition: {len(clients):,} clients of {sizes.min():,} to {sizes.max():,} samples, "
        f"median {np.median(sizes):,g}; {sizes.sum():,} of {len(data.labels):,} of {data.name}, "
        f"{data.classes} classes"
    )
    say_table(title, made)
    if data.domains is not None:
        say_paragraph(_domains(data, data.domains))
    if data.left_out:
        say_paragraph(_left_out(planned))
    if not planned.config.holdout.is_nothing:
        say_paragraph(_held_out(planned))
    if not planned.config.heterogeneity.is_nothing:
        say_paragraph(_differences(planned))
    if planned.config.algorithm.pool is not None:
        say_paragraph(_pool(planned))
    if planned.config.algorithm.personal:
        say_paragraph(_own_models(planned))
    if isinstance(planned.config.algorithm, FedRep):
        say_paragraph(_own_classifiers(planned.config.algorithm))


def _domains(data: Labels, domains: np.ndarray) -> str:
    """How many training samples each domain has, in words."""
    sizes = np.bincount(domains, minlength=len(data.domain_names))
    words = []
    for name, count in zip(data.domain_names, sizes, strict=True):
        if count:
            words.append(f"{name} {count:,}")
    return f"Training samples by domain: {', '.join(words)}. Accuracy is stored by domain."


def _left_out(planned: DryRun) -> str:
    """Which domains never train, what is tested on them, and how long that takes, in words."""
    data = planned.data
    every = _every(planned.config.evaluation.every)
    batches = planned.config.evaluation.batches
    others = [name for name in data.domain_names if name not in data.left_out]
    validated = "there is no validation set, for these have no test images"
    if data.validation:
        validated = (
            f"their {data.validation:,} test images are the validation set "
            f"({_counted(batches(data.validation), 'batch', 'batches')})"
        )
    return (
        f"Left out of training and normalisation: {', '.join(data.left_out)}, whose {data.test:,} "
        f"images are the test set ({_counted(batches(data.test), 'batch', 'batches')}). "
        f"{', '.join(others)} train; {validated}. Both are evaluated {every}."
    )


def _held_out(planned: DryRun) -> str:
    """What of the partition never trains, in words."""
    held = planned.held
    own = held.own.sizes[held.participants]
    unseen = held.own.sizes[held.unseen]
    words = (
        f"Held out: {own.sum():,} samples of {np.count_nonzero(own):,} of the "
        f"{plural(len(own), 'client')} that train"
    )
    if len(unseen):
        words += (
            f"; {plural(len(unseen), 'client')} that never train, tested on "
            f"{unseen.sum():,} samples"
        )
    batches = planned.config.evaluation.batches(int(held.own.sizes.sum()))
    return (
        f"{words}. They are evaluated with the test set, {_every(planned.config.evaluation.every)} "
        f"({_counted(batches, 'batch', 'batches')} more)."
    )


def _every(rounds: int) -> str:
    """How often something is done.

    >>> _every(1), _every(10)
    ('every round', 'every 10 rounds')
    """
    return "every round" if rounds == 1 else f"every {plural(rounds, 'round')}"


def _differences(planned: DryRun) -> str:
    """How many clients are there in the run's rounds, and how much of the work they do."""
    rounds = range(1, min(planned.config.rounds, _MOST_ROUNDS) + 1)
    turns = [planned.timetable.federation.turn(round) for round in rounds]
    there = float(np.mean([turn.there for turn in turns]))
    cohort = float(np.mean([len(turn.cohort) for turn in turns]))
    late = float(np.mean([len(turn.late) for turn in turns]))
    done = sum(int(turn.steps.sum()) for turn in turns)
    full = sum(int(planned.clients.steps(turn.cohort).sum()) for turn in turns)
    share = done / full if full else 0.0
    empty = sum(len(turn.cohort) == 0 for turn in turns)
    words = (
        f"Clients differ (rounds 1 to {len(turns):,}): on average {_mean(there)} of "
        f"{len(planned.held.participants):,} are there and {_mean(cohort)} train, on "
        f"{percent(share)} of their full steps"
    )
    if late:
        words += f"; {_mean(late)} more are too late and left out"
    if empty:
        words += f"; in {plural(empty, 'round')} nobody trains, and the weights stay"
    return f"{words}."


def _pool(planned: DryRun) -> str:
    """What the one client does that has the samples of all."""
    steps = planned.timetable.turn(1).steps.sum()
    return (
        f"One client trains on the {sum(planned.clients.sizes):,} samples of all of these, "
        f"{plural(steps, 'step')} in round 1 (algorithm.budget = {planned.config.algorithm.pool})."
    )


def _own_models(planned: DryRun) -> str:
    """How many models an evaluation is of, where clients have their own."""
    every = _every(planned.config.evaluation.every)
    models = plural(len(planned.held.participants), "model")
    on_which = ""
    if planned.config.algorithm.tests_own_domains and planned.data.domains is not None:
        on_which = ", of these on those of its own domains"
    return (
        f"Each client is tested with its own model: {models} on the {planned.data.test:,} test "
        f"samples{on_which}, {every} (evaluation.every)."
    )


def _own_classifiers(algorithm: FedRep) -> str:
    """What clients do beside the steps that are counted."""
    passes = algorithm.head_epochs
    work = f"for {plural(passes, 'pass', 'passes')}" if passes else "for as many steps"
    return (
        f"FedRep trains each client's classifier before the body, {work} "
        f"(algorithm.head_epochs = {passes}): these steps are not in the tables."
    )


def _messages(planned: DryRun, load: cost.Load) -> None:
    net = planned.clients.net
    config = planned.config
    traffic = cost.traffic(planned, load.cohort)
    state = planned.state.flat()
    rounds_kept, written = cost.stored(planned)
    down = traffic.down * load.cohort
    up = traffic.up * load.cohort
    whole = (down + up) * config.rounds
    remembered = f"{size(cost.size_of(state))}: {_names(state)}" if state else "nothing"
    made = facts()
    made.add_row("model", f"{config.model.name}: {trained(net)}, {size(net.weights.nbytes)}")
    made.add_row("its buffers", f"{len(net.buffers):,} numbers, {size(net.buffers.nbytes)}")
    made.add_row("to a client", f"{size(traffic.down)} a round: {_names(planned.sent.vectors())}")
    made.add_row("from a client", f"{size(traffic.up)} a round: {_names(planned.reply.flat())}")
    made.add_row(
        "a real federation", f"{size(down)} down, {size(up)} up a round; {size(whole)} in all"
    )
    made.add_row(
        "MPI, a rank",
        f"{size(traffic.broadcast)} in a Bcast, {size(traffic.reduce)} in a Reduce; "
        "nothing with one rank",
    )
    made.add_row("a client remembers", remembered)
    made.add_row("on disk", f"{size(written)} of weights, of {_counted(rounds_kept, 'round')}")
    say_table(f"messages of a round of {_mean(load.cohort)} clients", made)


def _operations(planned: DryRun, counted: Flops, load: cost.Load) -> None:
    """Print what training computes and holds."""
    mean = f", mean over {counted.draws} draws" if counted.draws > 1 else ""
    passes = counted.step / counted.batch / counted.forward if counted.forward else 0.0
    of_round = cost.operations(planned, counted)
    trained_numbers = len(planned.clients.net.weights)
    made = facts()
    made.add_row("a forward pass", f"{operations(counted.forward)} a sample")
    made.add_row(
        "a training step",
        f"{operations(counted.step)} on {_counted(counted.batch, 'sample')}{mean}: {passes:.3g} "
        "forward passes a sample",
    )
    made.add_row(
        "a round",
        f"{operations(of_round)} of training; "
        f"{operations(of_round * planned.config.rounds)} in {planned.config.rounds:,} rounds",
    )
    made.add_row(
        "a client holds",
        f"{counted.held:,} numbers in training, of which {trained_numbers:,} train",
    )
    say_table(f"operations of a round of {_mean(load.cohort)} clients", made)


def _names(vectors: Iterable[str]) -> str:
    """Vectors in words: the algorithm's by the names that it gave them."""
    return ", ".join(name.removeprefix("algorithm.") for name in vectors)


def _memory_of_a_rank(
    planned: DryRun, measured: Profile | None, ranks: int, process: int, peak: int
) -> Iterator[tuple[str, int]]:
    """The parts of a rank's memory and their bytes.

    `process` and `peak` are the memory of this process before and after the measurement, in bytes;
    0 if unknown.
    """
    rows = list(cost.memory(planned, measured, ranks))
    if process:
        rows.append(("Python and its libraries (measured)", process))
    data = 0 if planned.config.data.path else planned.data.bytes
    rest = peak - data - sum(count for _, count in rows)
    if rest > 0:
        rows.append(("Other peak memory: a batch of the test, workspaces (measured)", rest))
    yield from rows


def _memory(
    planned: DryRun,
    rows: list[tuple[str, int]],
    has_activations: bool,
    ranks: int,
    cohort: float,
    nodes: int = 1,
) -> None:
    """Print the memory of one rank, whose parts are `rows`, and of a node of `ranks` ranks.

    What clients remember is spread over the `nodes`.
    """
    rank = sum(count for _, count in rows)
    data = planned.data.bytes
    server = cost.size_of(planned.server)
    states = cost.remembered(planned, cohort)
    folder = planned.config.runtime.states_folder
    made = facts()
    for name, count in rows:
        made.add_row(name, size(count))
    made.add_row("a rank" if has_activations else "a rank, without activations", size(rank))
    made.add_row("the data set, once a node (and on every GPU)", size(data))
    if server:
        made.add_row("what the server remembers", size(server))
    if states:
        where = f"on disk, in {folder}" if folder else "spread over the nodes"
        made.add_row(f"what all clients remember, and copies of a round's, {where}", size(states))
    node = ranks * rank + data + server
    if not folder:
        node += states // nodes
    made.add_row(f"a node of {_counted(ranks, 'rank')}", size(node))
    say_table("memory", made)


def _rounds(planned: DryRun, measured: Profile | None, loads: list[cost.Load]) -> None:
    heads = ["ranks", "workers", "its clients", "its steps"]
    if measured:
        heads += ["a round", f"{planned.config.rounds:,} rounds"]
    made = table(*heads)
    for load in loads:
        workers = max(1, load.ranks - 1)
        row = [str(load.ranks), str(workers), _mean(load.clients), f"{load.longest:,.0f}"]
        if measured:
            one, whole = cost.seconds(planned, measured, load)
            row += [f"{one:.3g} s", duration(whole)]
        made.add_row(*row)
    load = loads[0]
    say_table(
        f"a round: {_mean(load.cohort)} clients, {load.steps:,.0f} steps; "
        "and the worker with the most",
        made,
    )


def _notes(
    planned: DryRun, measured: Profile | None, loads: list[cost.Load], device: torch.device
) -> Iterator[str]:
    """What the times are based on, what would shorten them, and which ranks would be idle."""
    idle = idle_workers(planned.config, loads[-1].ranks)
    if idle is not None:
        yield f"With {loads[-1].ranks} ranks, {idle}."
    if measured:
        yield from _notes_of_times(planned, measured, loads, device)
    memory = on_gpu(device)
    if memory:
        yield f"At its peak this process took {size(memory)} of the GPU."


def _notes_of_times(
    planned: DryRun, measured: Profile, loads: list[cost.Load], device: torch.device
) -> Iterator[str]:
    test = planned.config.evaluation.batches(planned.data.test)
    batches = "1 batch" if test == 1 else f"{test} batches"
    threads = torch.get_num_threads()
    yield (
        f"Measured here, on {device} with {_counted(threads, 'thread')}: "
        f"{_short(measured.step)} a step of {_counted(measured.batch, 'sample')}, "
        f"{_short(measured.client)} a client beside its steps, "
        f"{_short(measured.evaluation)} a batch of the test, which has {batches}. The times above "
        "are computed from these, without MPI and the disk, with a core or a GPU for every rank."
    )
    waiting = [load.ranks for load in loads if cost.server_is_last(planned, measured, load)]
    if waiting:
        yield (
            f"From {waiting[0]} ranks on, workers wait for the server's test of {batches}: a "
            'larger evaluation.every or evaluation.where="auto" would shorten the round.'
        )
    yield _evaluation(planned, measured, loads[-1])
    cores = os.cpu_count() or 1
    if device.type == "cpu" and loads[-1].ranks * threads > cores:
        yield f"This machine has {cores} cores; more ranks than that would take turns."


def _evaluation(planned: DryRun, measured: Profile, load: cost.Load) -> str:
    """What evaluation costs, and who waits in a round that has one, in words."""
    tested = cost.tested(planned, measured, load)
    every = planned.config.evaluation.every
    often = "each round" if every == 1 else f"every {every} rounds"
    words = (
        f"An evaluation, {often}, takes {_short(tested.alone)} on one rank: "
        f"{100 * tested.part:.0f} % of all work of such a round. "
    )
    if load.ranks == 1:
        return words.rstrip()
    return words + (
        f"With {load.ranks} ranks the round takes {_short(tested.seconds)}; rank 0 waits "
        f"{_short(tested.server_waits)} of it for the workers, and a worker "
        f"{_short(tested.workers_wait)} on average."
    )


def _counted(count: int, noun: str, nouns: str = "") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {nouns or noun + 's'}"


def _short(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{1000 * seconds:.3g} ms"


def _mean(clients: float) -> str:
    return f"{clients:,.0f}" if clients >= 100 else f"{clients:.3g}"
