"""`mpifl show`: a run in the terminal."""

from __future__ import annotations

import click

from mpifl.commands.arguments import HELP
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP, short_help="Summarise a run, or list several.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--config", is_flag=True, help="Print the stored config too, with every option.")
@click.option(
    "--status", is_flag=True, help="Print one word only: running, complete, stopped or failed."
)
@click.option(
    "--plugin-text",
    "plugin",
    metavar="NAME",
    help="Print the stored text of this plugin only; it is not run.",
)
def show(runs: tuple[str, ...], config: bool, status: bool, plugin: str | None) -> None:
    """Summarise RUN: its folder, its results.h5, or a packed file.

    Printed are its parts, the accuracy curve, the partition, timings, provenance, and on the last
    line the SHA-256 of the weights. A run that is still running can be shown too. Several runs are
    listed: a line for each.

    \b
    mpifl show runs/demo
    mpifl show runs/demo --config
    mpifl show runs/*                  a line for each run
    mpifl show runs/demo --status      for scripts
    mpifl show runs/demo --plugin-text mine.py > mine.py
    """
    with one_line_errors():
        from mpifl.analysis.runs import listing, summary
        from mpifl.analysis.runs.plugin_text import print_plugin
        from mpifl.options import BadInput
        from mpifl.store import Run
        from mpifl.terminal import page, say

        if len(runs) > 1:
            if config or status or plugin is not None:
                raise BadInput(
                    "command line: expected one run with --config, --status or --plugin-text; got "
                    f"{len(runs)}"
                )
            listing.list_runs(runs)
            return
        if listing.holds_runs(runs[0]):
            raise BadInput(
                f"{runs[0]}: expected a run; got a folder of runs; to list them: "
                f"mpifl show {runs[0].rstrip('/')}/*"
            )
        opened = Run.open(runs[0])
        if plugin is not None:
            print_plugin(opened, plugin)
        elif status:
            say(opened.status)
        else:
            with page(colours=True) as console:
                summary.show(opened, console, config)
