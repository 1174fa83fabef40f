"""`mpifl pack`: a run as one file."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import HELP, FilePath
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP)
@click.argument("run")
@click.option("-o", "--out", required=True, type=FilePath(), help="The file to write.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def pack(run: str, out: Path, force: bool) -> None:
    """Make one self-contained file of RUN, to send to somebody.

    Every command that reads a run reads such a file too.

    \b
    mpifl pack runs/demo -o demo.h5
    mpifl show demo.h5
    """
    with one_line_errors():
        from mpifl.store import pack
        from mpifl.terminal import say

        say(f"written to {pack(run, out, force)}")
