"""`mpifl reseal`: accept files of a run that were edited on purpose."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import HELP, FilePath
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP, short_help="Accept files of RUN that you edited.")
@click.argument("run", type=FilePath())
def reseal(run: Path) -> None:
    """Accept the edited files of RUN: its folder, a file in it, or a packed file.

    Files of mpifl end in checksums. A program that opens one for writing, such as h5py in mode "a",
    removes them, and mpifl then refuses the file. This command reads the file whole, in a process
    of its own, and if that succeeds writes new checksums and an attribute `resealed` with the time.
    Damaged files and those cut short are refused: for them, the checksums are what tells.

    \b
    mpifl reseal runs/demo
    mpifl reseal demo.h5
    """
    with one_line_errors():
        from mpifl.store.reseal import reseal as write_checksums
        from mpifl.terminal import say

        resealed = write_checksums(run)
        for file in resealed:
            say(f"resealed {file}")
        if not resealed:
            say(f"{run}: every file is as mpifl wrote it; nothing to do")
