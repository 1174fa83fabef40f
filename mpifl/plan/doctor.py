"""`mpifl doctor`: whether the ranks are one job, where each runs and on what, and how fast their
messages travel.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import mpifl
from mpifl.parallel import launcher
from mpifl.terminal import facts, say, say_paragraph, say_table, size, table

if TYPE_CHECKING:
    from mpifl.parallel.benchmark import Timed
    from mpifl.parallel.communicator import Communicator

BAD_INPUT = 2  # what a run exits with in the same case

_SLURM = (
    "JOB_ID", "STEP_ID", "RESTART_COUNT", "JOB_NUM_NODES", "NODELIST", "NTASKS", "STEP_NUM_TASKS", "CPUS_PER_TASK",
    "MPI_TYPE", "JOB_GPUS", "GPUS_ON_NODE", "PROCID", "LOCALID",
)  # fmt: skip
_PATIENCE = 2.0  # seconds
_LITTLE = 1 << 30
_SHOWN = 8  # values of ranks that differ


def main(path: str | None, assignments: Sequence[str], megabytes: float) -> int:
    """Examine the job that this process is part of, and print what was found; the exit code."""
    # Started later and by hand: a launcher of another MPI may end the process in MPI_Init, before
    # it could say why.
    os.environ |= {"MPI4PY_RC_INITIALIZE": "0", "MPI4PY_RC_FINALIZE": "1"}
    try:
        from mpifl.parallel import mpi
    except (ImportError, RuntimeError) as error:
        return _refuse(
            f"no MPI library: mpi4py says: {'; '.join(str(error).splitlines())}\nRemedy: `pip install mpich`, or load "
            "your cluster's MPI (`module load ...`), or MPI4PY_LIBMPI=PATH with the path of a libmpi.so"
        )
    library, launched = mpi.library(), launcher.ranks()
    if launcher.cannot_start(library):
        _warn(
            f"{library} under {launcher.name()} often ends in MPI_Init. Remedy: {launcher.remedy(library)}"
        )
        _let_the_first_speak()
    # mpi4py suspects it too, on every rank; the diagnosis says more, once
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "suspicious MPI execution environment")
        ranks = mpi.begin()
    if launched and launched != ranks:
        return _refuse(launcher.diagnosis(library, launched, ranks))
    from mpifl.runner.exit_codes import on_all_ranks

    return on_all_ranks(lambda job: _examine(job, path, assignments, megabytes))


def _warn(text: str) -> None:
    if launcher.is_first():
        say(f"mpifl doctor: {text}", error=True)


def _refuse(text: str) -> int:
    """Say it once for all processes that cannot find each other."""
    _warn(text)
    _let_the_first_speak()
    return BAD_INPUT


def _let_the_first_speak() -> None:
    """A launcher may end all processes when one has ended: those with nothing to say wait a little."""
    if not launcher.is_first():
        time.sleep(_PATIENCE)


def _examine(
    job: Communicator, path: str | None, assignments: Sequence[str], megabytes: float
) -> int:
    from mpifl.parallel import benchmark
    from mpifl.runner import schema
    from mpifl.runner.ranks import choose_device

    threads = torch.get_num_threads()
    config = job.agree(lambda: schema.resolve(schema.raw(path, assignments) if path else {}))
    device = choose_device(config, job)
    message = _message(job, config) if path else None
    rows = job.gather(_facts(job, device, threads))
    if job.is_server:
        _print_ranks(rows)
    if job.size > 1:
        timed = [
            ("", benchmark.measure(job, count, count)) for count in benchmark.sizes(1e6 * megabytes)
        ]
        timed += [(config.name, benchmark.measure(job, *message))] if message else []
        if job.is_server:
            _print_timed(timed)
    if job.is_server:
        for note in _notes(job, rows):
            say_paragraph(note)
    return 0


def _message(job: Communicator, config: Any) -> tuple[int, int]:
    """Bytes of a round's Bcast and Reduce; the first rank of every node looks, for each needs the
    data.
    """
    from mpifl.plan import cost
    from mpifl.plan.dry_run import dry_run

    sketch = job.agree(lambda: dry_run(config) if job.node.rank == 0 else None)
    sent = cost.traffic(sketch, cost.loads(sketch, [1])[0].cohort) if sketch else None
    return job.bcast(sent and (sent.broadcast, sent.reduce))


def _facts(job: Communicator, device: torch.device, threads: int) -> dict[str, Any]:
    """What this rank knows of itself."""
    from mpifl.parallel import communicator, mpi
    from mpifl.runner import provenance

    return {
        "rank": str(job.rank),
        "role": provenance.role(job),
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "device": provenance.name_of(device),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "unset"),
        "cores": os.sched_getaffinity(0),
        "threads": torch.get_num_threads(),
        "threads before": threads,
        "gpus": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "shm": communicator.shared_memory_free(),
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
    made = facts()
    for name in rows[0]["same"]:
        made.add_row(name, _alike([row["same"][name] for row in rows]))
    for name in _SLURM:
        values = [row["slurm"][name] for row in rows]
        if any(value is not None for value in values):
            made.add_row(f"SLURM_{name}", _alike([value or "unset" for value in values]))
    say_table("software", made)
    made = table(
        "rank", "role", "host", "pid", "device", "CUDA_VISIBLE_DEVICES", "cores", "threads", texts=6
    )
    for row in rows:
        before, after = row["threads before"], row["threads"]
        cells = [
            row[name] for name in ("rank", "role", "host", "pid", "device", "CUDA_VISIBLE_DEVICES")
        ]
        made.add_row(
            *cells,
            str(len(row["cores"])),
            f"{after}" if before == after else f"{before}, set to {after}",
        )
    say_table(f"{len(rows)} rank{'s' * (len(rows) > 1)} in one job", made)
    made = table("host", "ranks", "GPUs seen", "free in /dev/shm")
    for host, there in _by_host(rows).items():
        made.add_row(
            host,
            str(len(there)),
            str(max(r["gpus"] for r in there)),
            size(min(r["shm"] for r in there)),
        )
    say_table("hosts", made)


def _print_timed(timed: list[tuple[str, Timed]]) -> None:
    made = table("", "Bcast", "ms", "GB/s", "Reduce (int64)", "ms", "GB/s")
    for name, t in timed:
        down, up = t.broadcast / t.broadcast_seconds / 1e9, t.reduce / t.reduce_seconds / 1e9
        ms = [f"{1000 * seconds:.3f}" for seconds in (t.broadcast_seconds, t.reduce_seconds)]
        made.add_row(
            name, size(t.broadcast), ms[0], f"{down:.2g}", size(t.reduce), ms[1], f"{up:.2g}"
        )
    say_table("messages (medians, of the slowest rank)", made)


def _notes(job: Communicator, rows: list[dict[str, Any]]) -> Iterator[str]:
    """What to mend, or to know."""
    if job.size == 1:
        yield "One rank sends no messages: `mpirun -n 3 mpifl doctor` measures them."
    for name in rows[0]["same"]:
        if len({row["same"][name] for row in rows}) > 1:
            yield f"The ranks differ in: {name}. Their bits may differ too; install the same on every node."
    for host, there in _by_host(rows).items():
        threads, cores = (
            sum(row["threads"] for row in there),
            len(set().union(*(row["cores"] for row in there))),
        )
        workers = sum(row["role"] != "server" for row in there)
        gpus = max(row["gpus"] for row in there)
        if threads > cores:
            yield f"{host}: {threads} threads on {cores} cores take turns; every time above is longer for it."
        if 1 < gpus < workers:
            yield f"{host}: {workers} workers share {gpus} GPUs."
        if min(row["shm"] for row in there) < _LITTLE and len(there) > 1:
            yield f"{host}: a data set larger than what is free in /dev/shm is kept once a rank, not once a node."


def _by_host(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    hosts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        hosts.setdefault(row["host"], []).append(row)
    return hosts


def _alike(values: list[str]) -> str:
    """The one value of all ranks, or the first ranks' values."""
    if len(set(values)) == 1:
        return values[0]
    return "by rank: " + ", ".join(values[:_SHOWN]) + (" ..." if len(values) > _SHOWN else "")
