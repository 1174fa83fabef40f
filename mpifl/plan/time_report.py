"""`mpifl plan`: print the times of a round on this machine, and what they are based on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch

from mpifl.plan import cost
from mpifl.plan.dry_run import DryRun
from mpifl.plan.profile import Profile, on_gpu
from mpifl.runner.idle_workers import idle_workers
from mpifl.terminal import average, average_of, duration, plural, say_table, short_time, size, table


def show_rounds(planned: DryRun, measured: Profile | None, loads: list[cost.Load]) -> None:
    """Print what each number of ranks would do in a round, and how long it would take."""
    heads = ["ranks", "workers", "its clients", "its steps"]
    if measured:
        heads += ["a round", f"{planned.config.rounds:,} rounds"]
    made = table(*heads)
    for load in loads:
        workers = max(1, load.ranks - 1)
        row = [str(load.ranks), str(workers), average(load.clients), f"{load.longest:,.0f}"]
        if measured:
            one, whole = cost.seconds(planned, measured, load)
            row += [f"{one:.3g} s", duration(whole)]
        made.add_row(*row)
    load = loads[0]
    say_table(
        f"a round: {average_of(load.cohort, 'client')}, {load.steps:,.0f} steps; "
        "and the worker with the most",
        made,
    )


def notes_of_times(
    planned: DryRun, measured: Profile | None, loads: list[cost.Load], device: torch.device
) -> Iterator[str]:
    """What the times are based on, what would shorten them, and which ranks would be idle."""
    idle = idle_workers(planned.config, loads[-1].ranks)
    if idle is not None:
        yield f"With {loads[-1].ranks} ranks, {idle}."
    if measured:
        yield from _measured_here(planned, measured, loads, device)
    memory = on_gpu(device)
    if memory:
        yield f"At its peak this process took {size(memory)} of the GPU."


def _measured_here(
    planned: DryRun, measured: Profile, loads: list[cost.Load], device: torch.device
) -> Iterator[str]:
    """The measured times, and who would wait for whom."""
    test = planned.config.evaluation.batches(planned.data.test)
    batches = plural(test, "batch", "batches")
    threads = torch.get_num_threads()
    yield (
        f"Measured here, on {device} with {plural(threads, 'thread')}: "
        f"{short_time(measured.step)} a step of {plural(measured.batch, 'sample')}, "
        f"{short_time(measured.client)} a client beside its steps, "
        f"{short_time(measured.evaluation)} a batch of the test, which has {batches}. The times "
        "above are computed from these, without MPI and the disk, with a core or a GPU for every "
        "rank."
    )
    yield from note_of_lanes(planned)
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


def note_of_lanes(planned: DryRun) -> Iterator[str]:
    """That a rank trains several clients at once, which was not measured; nothing for one."""
    lanes = planned.config.runtime.lanes
    if lanes == 1:
        return
    number = "may train several" if lanes == "auto" else f"trains up to {lanes}"
    yield (
        f"runtime.lanes = {lanes}: each rank {number} clients at once; how much of a round that "
        "saves was not measured: the times are those of one client at a time."
    )


def _evaluation(planned: DryRun, measured: Profile, load: cost.Load) -> str:
    """What evaluation costs, and who waits in a round that has one, in words."""
    tested = cost.tested(planned, measured, load)
    every = planned.config.evaluation.every
    often = "each round" if every == 1 else f"every {every} rounds"
    words = (
        f"An evaluation, {often}, takes {short_time(tested.alone)} on one rank: "
        f"{100 * tested.part:.0f} % of all work of such a round. "
    )
    if load.ranks == 1:
        return words.rstrip()
    return words + (
        f"With {load.ranks} ranks the round takes {short_time(tested.seconds)}; rank 0 waits "
        f"{short_time(tested.server_waits)} of it for the workers, and a worker "
        f"{short_time(tested.workers_wait)} on average."
    )
