"""`mpifl sweep SWEEP.toml --task N`: one run of a sweep, on all ranks of the job; to do it twice does no harm."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl import exits, session, sweep
from mpifl.federation import Federation


def main(path: Path, number: int) -> int:
    """Run the sweep's run of this number, go on with it, or leave it alone if it is done; the exit code."""
    return exits.on_all_ranks(lambda federation: _task(federation, path, number))


def _task(federation: Federation, path: Path, number: int) -> int:
    """What rank 0 finds holds for all: a file system may show the others an older state of the folder."""
    found = federation.agree(lambda: sweep.find(path, number) if federation.is_server else None)
    cell, done = federation.bcast(found)
    if not done:
        return session.run(federation, cell.base, cell.assignments, cell.out, resume=True, force=False)
    if federation.is_server:
        click.echo(f"mpifl: {cell.out} is done")
    return 0
