"""`mpifl doctor`: are the ranks one job, on which hosts and devices, and how fast are messages."""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import mpifl
from mpifl.options import BadInput
from mpifl.parallel import launcher
from mpifl.terminal import facts, plural, say, say_paragraph, say_table, size, table

if TYPE_CHECKING:
    from mpifl.parallel.benchmark import Timed
    from mpifl.parallel.communicator import Communicator
    from mpifl.runner.schema import Config

BAD_INPUT = 2  # what a run exits with in the same case

_SLURM = (
    "JOB_ID", "STEP_ID", "RESTART_COUNT", "JOB_NUM_NODES", "NODELIST", "NTASKS", "STEP_NUM_TASKS",
    "CPUS_PER_TASK", "MPI_TYPE", "JOB_GPUS", "GPUS_ON_NODE", "PROCID", "LOCALID",
)  # fmt: skip
_LITTLE_SHARED_MEMORY = 1 << 30  # bytes
_VALUES_SHOWN = 8  # of ranks that differ


def main(
    path: str | None, assignments: Sequence[str], megabytes: float, save: Path | None = None
) -> int:
    """Examine the MPI job of this process, print a report, and return the exit code.

    The times of messages are also written to the file `save`.
    """
    # MPI is started below: under the launcher of another MPI, MPI_Init may end the process before
    # it could say why.
    os.environ["MPI4PY_RC_INITIALIZE"] = "0"
    try:
        from mpifl.parallel import mpi
    except BadInput as error:
        return _refuse(str(error))
    library = mpi.library()
    if launcher.may_not_start(library):
        ends = "ends" if launcher.cannot_start(mpi.library_version()) else "often ends"
        told = f"{library} under {launcher.name()} {ends} in MPI_Init"
        launcher.say_once(f"mpifl doctor: {told}. Remedy: {launcher.remedy(library)}")
        if launcher.cannot_start(mpi.library_version()):
            return BAD_INPUT
    launched = launcher.ranks()
    ranks = 1 if launcher.starts_apart(library) else mpi.begin()
    if launched and launched != ranks:
        return _refuse(launcher.diagnosis(library, launched, ranks))
    from mpifl.runner.exit_codes import on_all_ranks

    return on_all_ranks(lambda job: _examine(job, path, assignments, megabytes, save))


def _refuse(text: str) -> int:
    """Print it once for all processes, which cannot find each other; the exit code."""
    launcher.say_once(f"mpifl doctor: {text}")
    return BAD_INPUT


def _examine(
    job: Communicator,
    path: str | None,
    assignments: Sequence[str],
    megabytes: float,
    save: Path | None,
) -> int:
    from mpifl.parallel import benchmark
    from mpifl.runner import schema
    from mpifl.runner.ranks import choose_device

    threads = torch.get_num_threads()
    config = job.agree(lambda: schema.resolve(schema.raw(path, assignments) if path else {}))
    device = choose_device(config, job)
    message = _message(job, config) if path else None
    rows = job.gather(_facts(job, device, threads))
    if rows is not None:
        _print_ranks(rows)
    timed: list[tuple[str, Timed]] = []
    if job.size > 1:
        for count in benchmark.sizes(1e6 * megabytes):
            timed.append(("", benchmark.measure(job, count, count)))
        if message is not None:
            timed.append((config.name, benchmark.measure(job, *message)))
        if job.is_server:
            _print_timed(timed)
    if rows is not None:
        for note in _notes(job, rows):
            say_paragraph(note)
        if save is not None:
            _save(save, rows, timed)
    return 0


def _save(path: Path, rows: list[dict[str, Any]], timed: list[tuple[str, Timed]]) -> None:
    """Write the times of messages as JSON, for `mpifl plan --network`."""
    if not timed:
        raise BadInput("--save: expected several ranks; got one, which sends no messages")
    known = {
        "nodes": len(_by_host(rows)),
        "ranks": len(rows),
        "mpi": rows[0]["same"]["MPI library"],
        "messages": [times._asdict() for _, times in timed],
    }
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    say(f"written to {path}")


def _message(job: Communicator, config: Config) -> tuple[int, int]:
    """The bytes of a round's Bcast and Reduce.

    The first rank of every node computes them: each node needs the data for that.
    """
    from mpifl.plan import cost
    from mpifl.plan.dry_run import dry_run

    planned = job.agree(lambda: dry_run(config) if job.node.rank == 0 else None)
    message = None
    if planned is not None:
        sent = cost.traffic(planned, cost.loads(planned, [1])[0].cohort)
        message = sent.broadcast, sent.reduce
    return job.bcast(message)


def _facts(job: Communicator, device: torch.device, threads: int) -> dict[str, Any]:
    """What this rank knows of itself."""
    from mpifl.parallel import devices, mpi, node_memory
    from mpifl.runner import provenance

    return {
        "rank": str(job.rank),
        "role": provenance.role(job),
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "device": provenance.name_of(device),
        "processor": devices.processor(),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "unset"),
        "cores": os.sched_getaffinity(0),
        "threads": torch.get_num_threads(),
        "threads before": threads,
        "gpus": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "shm": node_memory.shared_memory_free(),
        "same": {
            "launcher": launcher.name(),
            "MPI library": mpi.library(),
            "its file": str(launcher.library_path()),
            "MPI standard": mpi.standard(),
            "takes GPU memory": launcher.cuda_aware(),
            "mpi4py, torch": f"{version('mpi4py')}, {torch.__version__}",
            "Python": f"{platform.python_version()} ({sys.executable})",
            "mpifl": f"{mpifl.__version__} ({Path(mpifl.__file__).parent})",
        },
        "slurm": {name: os.environ.get(f"SLURM_{name}") for name in _SLURM},
    }


def _print_ranks(rows: list[dict[str, Any]]) -> None:
    _print_software(rows)
    columns = ("rank", "role", "host", "pid", "device", "CUDA_VISIBLE_DEVICES")
    made = table(*columns, "cores", "threads", texts=len(columns))
    for row in rows:
        before = row["threads before"]
        after = row["threads"]
        threads = str(after) if before == after else f"{before}, set to {after}"
        made.add_row(*(row[name] for name in columns), str(len(row["cores"])), threads)
    say_table(f"{plural(len(rows), 'rank')} in one job", made)
    made = table("host", "processor", "ranks", "GPUs seen", "free in /dev/shm", texts=2)
    for host, there in _by_host(rows).items():
        gpus = max(row["gpus"] for row in there)
        free = min(row["shm"] for row in there)
        made.add_row(host, there[0]["processor"], str(len(there)), str(gpus), size(free))
    say_table("hosts", made)


def _print_software(rows: list[dict[str, Any]]) -> None:
    made = facts()
    for name in rows[0]["same"]:
        made.add_row(name, _one_or_all([row["same"][name] for row in rows]))
    for name in _SLURM:
        values = [row["slurm"][name] for row in rows]
        if any(value is not None for value in values):
            made.add_row(f"SLURM_{name}", _one_or_all([value or "unset" for value in values]))
    say_table("software", made)


def _print_timed(timed: list[tuple[str, Timed]]) -> None:
    made = table("", "Bcast", "ms", "GB/s", "Reduce (int64)", "ms", "GB/s")
    for name, times in timed:
        broadcast = _cells(times.broadcast, times.broadcast_seconds)
        made.add_row(name, *broadcast, *_cells(times.reduce, times.reduce_seconds))
    say_table("messages (medians, of the slowest rank)", made)


def _cells(count: int, seconds: float) -> tuple[str, str, str]:
    """Bytes, milliseconds, and GB/s."""
    return size(count), f"{1000 * seconds:.3f}", f"{count / seconds / 1e9:.2g}"


def _notes(job: Communicator, rows: list[dict[str, Any]]) -> Iterator[str]:
    """What to repair, or to know."""
    from mpifl.runner.provenance import differing_devices

    if job.size == 1:
        yield "One rank sends no messages: `mpirun -n 3 mpifl doctor` measures them."
    for name in rows[0]["same"]:
        if len({row["same"][name] for row in rows}) > 1:
            yield (
                f"The ranks differ in: {name}. Their bits may differ too; install the same on "
                "every node."
            )
    differing = differing_devices(rows)
    if differing is not None:
        yield f"Note: {differing}."
    for host, there in _by_host(rows).items():
        yield from _notes_on_host(host, there)


def _notes_on_host(host: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    threads = sum(row["threads"] for row in rows)
    cores = len(set().union(*(row["cores"] for row in rows)))
    if threads > cores:
        yield (
            f"{host}: {threads} threads on {cores} cores take turns; every time above is longer "
            "for it."
        )
    workers = sum(row["role"] != "server" for row in rows)
    gpus = max(row["gpus"] for row in rows)
    if 1 < gpus < workers:
        yield f"{host}: {workers} workers share {gpus} GPUs."
    shared_memory = min(row["shm"] for row in rows)
    if shared_memory < _LITTLE_SHARED_MEMORY and len(rows) > 1:
        yield (
            f"{host}: a data set larger than what is free in /dev/shm is kept once a rank, not "
            "once a node."
        )


def _by_host(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    hosts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        hosts.setdefault(row["host"], []).append(row)
    return hosts


def _one_or_all(values: list[str]) -> str:
    """The value that all ranks share, or the first ranks' values."""
    if len(set(values)) == 1:
        return values[0]
    shown = ", ".join(values[:_VALUES_SHOWN])
    more = " ..." if len(values) > _VALUES_SHOWN else ""
    return f"by rank: {shown}{more}"
