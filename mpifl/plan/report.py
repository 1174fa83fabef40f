"""`mpifl plan`: print what a run will do and cost. It writes nothing and needs no MPI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from mpifl.options import BadInput
from mpifl.parallel.devices import configure, device_for, threads_of
from mpifl.plan import cost
from mpifl.plan.cluster import Cluster
from mpifl.plan.cluster_report import show_cluster
from mpifl.plan.dry_run import DryRun, dry_run
from mpifl.plan.partition_report import show_partition
from mpifl.plan.profile import measure, resident
from mpifl.plan.size_report import memory_of_a_rank, show_memory, show_messages, show_operations
from mpifl.plan.time_report import notes_of_times, show_rounds
from mpifl.runner import differences, schema
from mpifl.runner.published import changes
from mpifl.terminal import say, say_paragraph
from mpifl.training import flops

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
    show_partition(planned)
    counted = flops.count(planned.trial.clients)
    show_messages(planned, loads[0])
    show_operations(planned, counted, loads[0])
    memory_ranks = ranks or _RANKS_OF_A_NODE
    rows = memory_of_a_rank(planned, measured, memory_ranks, process, peak)
    cohort = loads[0].cohort
    if cluster is not None and measured is not None:
        show_memory(planned, rows, measured, cluster.ranks_per_node, cohort, cluster.nodes)
        show_cluster(planned, measured, cluster)
    else:
        show_memory(planned, rows, measured, memory_ranks, cohort)
        show_rounds(planned, measured, loads)
        for note in notes_of_times(planned, measured, loads, device):
            say_paragraph(note)
    _say_what_differs(config, is_missing)
    return planned


def _say_what_differs(config: schema.Config, is_missing: bool) -> None:
    """Say what is not here, or not as in the paper, and which folder is taken."""
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
