"""One `mpifl run`: from a config to a finished folder, on all ranks of the job."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import mpifl
from mpifl import build, rounds
from mpifl.federation import Federation, launched_ranks, library
from mpifl.journal import Both, Recorder, Teller, size
from mpifl.settings import BadInput
from mpifl.store import Run, Store

BAD_INPUT, DIVERGED, BROKEN = 2, 3, 1
"""exit codes; 0 is a complete run"""


def main(path: str, assignments: Sequence[str], out: Path | None, force: bool) -> int:
    """Run and return the exit code."""
    return on_all_ranks(lambda federation: _run(federation, path, assignments, out, force))


def on_all_ranks(action: Callable[[Federation], int]) -> int:
    """The exit code of `action`; an unforeseen exception on any rank ends all ranks with its traceback."""
    federation = None
    try:
        federation = Federation()
        return action(federation)
    except BadInput as error:
        return _end(federation, f"mpifl: {error}", BAD_INPUT)
    except rounds.RunFailed as error:
        return _end(federation, f"mpifl: {error}", DIVERGED)
    except BaseException:
        rank = federation.rank if federation else "unknown"
        print(f"mpifl: rank {rank} on {socket.gethostname()} failed:\n{traceback.format_exc()}", file=sys.stderr)
        sys.stderr.flush()
        if federation and federation.size > 1:
            federation.stop_all(BROKEN)
        return BROKEN


def _end(federation: Federation | None, line: str, code: int) -> int:
    if federation is None or federation.is_server:
        click.echo(line, err=True)
    return code


def _run(federation: Federation, path: str, assignments: Sequence[str], out: Path | None, force: bool) -> int:
    config = federation.agree(lambda: build.resolve(build.raw(path, assignments)))
    dataset = build.shared_data(config.data, config.seed, federation)
    device, threads = build.place(config, federation)
    x = federation.agree(lambda: build.experiment(config, dataset, device))
    table = federation.gather(_place(federation, device, threads))
    out = out or Path("runs") / config.name
    store = federation.agree(lambda: _create(out, config, x, dataset, table, force) if table else None)
    watchers: list[rounds.Watcher] = []
    if store:
        say = _say(federation)
        _announce(say, config, x, dataset, table)
        watchers = [Recorder(store, config.results.weights_every), Teller(config.rounds, say)]
    try:
        rounds.run(x, federation, Both(watchers))
    except BaseException:
        if store:
            store.close("failed")
        raise
    if store:
        store.close("complete")
        _conclude(say, out)
    return 0


def _say(federation: Federation) -> Callable[[str], None]:
    return lambda line: click.echo(line)


def _place(federation: Federation, device: torch.device, threads: int) -> dict[str, Any]:
    """One row of the table printed at start: where this rank runs and with what."""
    role = "server" if federation.worker is None else ("worker" if federation.size > 1 else "server, worker")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "rank": federation.rank,
        "role": role,
        "host": socket.gethostname(),
        "device": f"{device} ({name})",
        "threads": threads,
    }


def _create(out: Path, config: build.Config, x: rounds.Experiment, dataset, table: list[dict], force: bool) -> Store:
    parts = x.clients.parts
    offsets = np.concatenate([[0], np.cumsum(x.clients.sizes)]).astype(np.int64)
    return Store.create(
        out,
        config=build.text(config),
        seed=config.seed,
        layout=x.clients.net.layout,
        clients=config.clients,
        partition=(np.concatenate(parts), offsets, x.clients.counts),
        provenance=_provenance(dataset, table),
        force=force,
        commit_seconds=config.results.commit_seconds,
    )


def _provenance(dataset, table: list[dict]) -> dict[str, Any]:
    """What a reader years later needs to know about how these numbers came to be."""
    facts = {
        "command": " ".join(sys.argv),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "mpi_library": library(),
        "launched_ranks": launched_ranks() or 1,
        "ranks": len(table),
        "data_checksum": dataset.checksum,
        "data_source": dataset.source,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda or "",
    }
    facts |= {f"version_{name}": version(name) for name in ("mpifl", "torch", "numpy", "h5py", "mpi4py")}
    facts |= {key: [str(row[key]) for row in table] for key in ("host", "device", "threads")}
    facts |= {name: value for name, value in os.environ.items() if name.startswith("SLURM_")}
    return facts


def _git_commit() -> str:
    """The commit of the code that runs, with a mark when files differ from it; empty outside a checkout."""
    command = ["git", "-C", str(Path(mpifl.__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _announce(say, config: build.Config, x: rounds.Experiment, dataset, table: list[dict]) -> None:
    net, sizes = x.clients.net, x.clients.sizes
    ranks = Table(*table[0], title=f"mpifl {mpifl.__version__}, {library()}", title_justify="left")
    for row in table:
        ranks.add_row(*map(str, row.values()))
    console = Console(width=100)
    console.print(ranks)
    classes = (x.clients.counts > 0).sum(1)
    say(
        f"{config.name}: {type(config.algorithm).__name__}, loss {config.local.loss}, {config.model.name} "
        f"({len(net.weights):,} parameters), {dataset.name} ({len(dataset.train):,} training, "
        f"{len(dataset.test):,} test samples)\n{len(sizes)} clients of {sizes.min()} to {sizes.max()} samples and "
        f"{classes.min()} to {classes.max()} of {len(dataset.classes)} classes; a message is {size(net.weights.nbytes)}"
    )


def _conclude(say, out: Path) -> None:
    run = Run.open(out)
    figures = run.rounds
    accuracy = figures.get("test_accuracy", np.array([np.nan]))
    best = int(np.nanargmax(accuracy))
    table = Table("", "", show_header=False)
    table.add_row("rounds", str(len(figures["round"])))
    table.add_row("last accuracy", f"{accuracy[-1]:.2%}")
    table.add_row("best accuracy", f"{accuracy[best]:.2%} (round {figures['round'][best]})")
    table.add_row("last test loss", f"{figures['test_loss'][-1]:.4f}")
    table.add_row("seconds", f"{figures['seconds'].sum():.1f}")
    sent = (size(figures[name].sum()) for name in ("bytes_down", "bytes_up"))
    table.add_row("sent to clients, by clients", ", ".join(sent))
    Console(width=100).print(table)
    say(f"written to {out}\nnext: mpifl show {out}")
