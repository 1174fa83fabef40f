"""One `mpifl run`: from a config to a finished folder, on all ranks of the job."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import mpifl
from mpifl import build, launching, rounds
from mpifl.checkpoints import Checkpoints, start_from
from mpifl.federation import AgreedBadInput, Federation, launched_ranks, library
from mpifl.journal import Both, Recorder, Teller, size
from mpifl.settings import BadInput
from mpifl.store import Checkpoint, Run, Store, Superseded, checkpoint

BAD_INPUT, DIVERGED, TAKEN, BROKEN = 2, 3, 4, 1
"""exit codes; 0 is a complete run"""


def main(path: str, assignments: Sequence[str], out: Path | None, *, resume: bool = False, force: bool = False) -> int:
    """Run and return the exit code."""
    return on_all_ranks(lambda federation: _run(federation, path, assignments, out, resume, force))


def on_all_ranks(action: Callable[[Federation], int]) -> int:
    """The exit code of `action`; an unforeseen exception on any rank ends all ranks with its traceback."""
    federation = None
    try:
        federation = Federation()
        return action(federation)
    except AgreedBadInput as error:
        return _end(federation, f"mpifl: {error}", BAD_INPUT)
    except rounds.RunFailed as error:
        return _end(federation, f"mpifl: {error}", DIVERGED)
    except (BadInput, Superseded) as error:  # this rank's alone: the others would wait for it for ever
        code = TAKEN if isinstance(error, Superseded) else BAD_INPUT
        if federation is None or federation.size == 1:
            return _end(federation, f"mpifl: {error}", code)
        click.echo(f"mpifl: rank {federation.rank}: {error}", err=True)
        federation.stop_all(code)
        return code
    except BaseException:
        rank = federation.rank if federation else "unknown"
        print(f"mpifl: rank {rank} on {socket.gethostname()} failed:\n{traceback.format_exc()}", file=sys.stderr)
        sys.stderr.flush()
        if federation and federation.size > 1:
            federation.stop_all(BROKEN)
        return BROKEN


def _end(federation: Federation | None, line: str, code: int) -> int:
    if federation.is_server if federation else launching.first():
        click.echo(line, err=True)
    return code


def _run(
    federation: Federation, path: str, assignments: Sequence[str], out: Path | None, resume: bool, force: bool
) -> int:
    if resume and force:
        raise AgreedBadInput("command line: expected --resume or --force; got both")
    config = federation.agree(lambda: build.resolve(build.raw(path, assignments)))
    dataset = build.shared_data(config.data, config.seed, federation)
    device, threads = build.place(config, federation)
    x = federation.agree(lambda: build.experiment(config, dataset, device))
    table = federation.gather(_place(federation, device, threads))
    folder = out or Path("runs") / config.name
    opened = federation.agree(lambda: _open(folder, config, x, dataset, table, resume, force) if table else None)
    store, found = opened or (None, None)
    found, owner = federation.bcast((found, store and store.owner))
    watchers: list[rounds.Watcher] = []
    if store:
        _announce(config, x, dataset, table)
        if found:
            click.echo(found.warning + "\n" * bool(found.warning) + f"going on after round {found.round}")
        watchers = [Recorder(store, config.results.weights_rounds(config.rounds)), Teller(config.rounds, click.echo)]
    every, minutes = config.results.checkpoint_rounds, config.results.checkpoint_minutes
    keeper = Checkpoints(folder, store, owner.check, every, minutes)
    try:
        rounds.run(x, federation, Both(watchers), keeper, start_from(found, federation))
    except BaseException:
        if store:
            _close_failed(store)
        raise
    if store:
        store.close("complete")
        _conclude(folder)
    return 0


def _open(
    folder: Path, config: build.Config, x: rounds.Experiment, dataset, table: list[dict], resume: bool, force: bool
) -> tuple[Store, Checkpoint | None]:
    """The run's store, new or gone on with, and the checkpoint to go on from."""
    facts = {"config": build.text(config), "layout": x.clients.net.layout, "provenance": _provenance(dataset, table)}
    if resume and folder.exists():
        found = checkpoint.latest(folder)
        round = found.round if found else 0
        store = Store.resume(folder, round=round, commit_seconds=config.results.commit_seconds, **facts)
        return store, found
    parts = x.clients.parts
    offsets = np.concatenate([[0], np.cumsum(x.clients.sizes)]).astype(np.int64)
    store = Store.create(
        folder,
        seed=config.seed,
        clients=config.clients,
        partition=(np.concatenate(parts), offsets, x.clients.counts),
        force=force,
        commit_seconds=config.results.commit_seconds,
        **facts,
    )
    return store, None


def _close_failed(store: Store) -> None:
    """Say in the folder that the run failed, where that is still possible; the failure itself is told elsewhere."""
    with suppress(OSError, Superseded):
        store.close("failed")


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
    facts |= {f"version_{name}": version(name) for name in ("mpifl", "torch", "torchvision", "numpy", "h5py", "mpi4py")}
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


def _announce(config: build.Config, x: rounds.Experiment, dataset, table: list[dict]) -> None:
    net, sizes = x.clients.net, x.clients.sizes
    ranks = Table(*table[0], title=f"mpifl {mpifl.__version__}, {library()}", title_justify="left")
    for row in table:
        ranks.add_row(*map(str, row.values()))
    console = Console(width=100, color_system=None)  # Open MPI gives ranks a terminal, even into a file
    console.print(ranks)
    classes = (x.clients.counts > 0).sum(1)
    click.echo(
        f"{config.name}: {type(config.algorithm).__name__}, loss {config.local.loss}, {config.model.name} "
        f"({len(net.weights):,} parameters), {dataset.name} ({len(dataset.train):,} training, "
        f"{len(dataset.test):,} test samples)\n{len(sizes)} clients of {sizes.min()} to {sizes.max()} samples and "
        f"{classes.min()} to {classes.max()} of {len(dataset.classes)} classes; a message is {size(net.weights.nbytes)}"
    )


def _conclude(out: Path) -> None:
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
    Console(width=100, color_system=None).print(table)
    click.echo(f"written to {out}\nnext: mpifl show {out}")
