"""`mpifl jobs`: the batch files for Slurm and PBS."""

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
    default="jobs",
    show_default=True,
    help="The folder to write to.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
def jobs(out: Path, force: bool) -> None:
    """Write batch files for Slurm and PBS into a folder.

    They start runs, sweeps, curvature and tables on a cluster, and continue a run that was
    interrupted. They use the virtual environment of this mpifl.

    \b
    mpifl jobs --out jobs
    sbatch -n 5 jobs/train.sbatch demo.toml runs/demo
    """
    with one_line_errors():
        from mpifl.commands.shipped import virtual_environment, write_jobs
        from mpifl.terminal import say

        written = write_jobs(out, force)
        say(f"{len(written)} files written to {out}")
        say(f"they use the mpifl of {virtual_environment() or 'the PATH'}")
        say(f"next: edit {out / 'site.sh'} for your cluster; read {out / 'README.md'}; then")
        say(f"  sbatch -n 5 {out / 'train.sbatch'} CONFIG.toml RUN")
