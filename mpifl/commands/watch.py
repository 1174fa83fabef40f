"""`mpifl watch`: runs that others write, as they go on."""

from __future__ import annotations

import sys

import click

from mpifl.commands.arguments import HELP
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--once", is_flag=True, help="Print one picture, and end with exit code 0.")
def watch(runs: tuple[str, ...], once: bool) -> None:
    """Follow RUNs while they train.

    It works from another terminal, on a login node, or by ssh. RUN is a run's folder, which need
    not be there yet, or a folder of runs, such as that of a sweep. Only files are read: the runs
    never notice. A run writes every ten seconds at most (results.commit_seconds).

    One run: progress and time left, accuracy and loss with their curves, clients that take 1.5
    times as long as the median one, the last checkpoint, warnings. Several: a line for each. q or
    Ctrl-C leaves. Where stdout is no terminal, a line is printed whenever a run was written.

    \b
    mpifl watch runs/demo              until the run has ended
    mpifl watch runs/demo-*            several runs as a table
    mpifl watch runs/sweep             all runs in a folder, new ones too, until you leave
    mpifl watch runs/sweep --once      one picture
    mpifl watch runs/demo > log &      lines in a log

    \b
    Exit codes: 0 all runs are complete, or you left by q; 1 a run failed; 75 a run was stopped, or
    its process is gone, and can be resumed; 2 bad input; 130 Ctrl-C.
    """
    with one_line_errors():
        from mpifl.analysis.watching.follow import follow, show_once

        code = show_once(runs) if once else follow(runs)
    sys.exit(code)
