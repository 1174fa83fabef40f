"""`mpifl note`: a note about a run."""

from __future__ import annotations

import click

from mpifl.commands.arguments import HELP
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP, short_help="Keep a note about RUN.")
@click.argument("run")
@click.argument("text")
def note(run: str, text: str) -> None:
    """Keep a note about RUN: its folder, its results.h5, or a packed file.

    `mpifl show` prints it, and `mpifl pack` takes it along. Each note is a text file in RUN/notes;
    for the packed file x.h5 in x.notes. The run's own files are not changed.

    \b
    mpifl note runs/demo "the learning rate was a mistake; see runs/demo2"
    """
    with one_line_errors():
        from mpifl.store import Run, notes
        from mpifl.terminal import say

        say(f"written to {notes.add(Run.open(run), text)}")
