"""`mpifl configs`: the demo's config, and those of published experiments."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import HELP, FilePath
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP)
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    default="configs",
    show_default=True,
    help="The folder to write to.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
def configs(out: Path, force: bool) -> None:
    """Write the configs that come with mpifl into a folder.

    They are the demo, and the experiments of papers: a file for each run, with the published
    numbers.

    \b
    mpifl configs --out configs
    mpirun -n 3 mpifl run configs/demo.toml
    """
    with one_line_errors():
        from mpifl.commands.shipped import write_configs
        from mpifl.terminal import say

        written = write_configs(out, force)
        say(f"{len(written)} files written to {out}; {out / 'README.md'} lists them")
        say(f"next: mpirun -n 3 mpifl run {out / 'demo.toml'}")
