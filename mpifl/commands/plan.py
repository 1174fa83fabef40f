"""`mpifl plan`: what a run would do and cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpifl.commands.arguments import ASSIGNMENTS, HELP, ConfigCommand, FilePath
from mpifl.commands.process import imports_for_ranks, one_line_errors

if TYPE_CHECKING:
    from mpifl.plan.dry_run import DryRun


@click.command(cls=ConfigCommand, context_settings=HELP)
@click.argument("config")
@ASSIGNMENTS
@click.option(
    "--ranks",
    type=click.IntRange(1),
    help="How many MPI ranks to plan for [default: several numbers].",
)
@click.option(
    "--no-timing", is_flag=True, help="Measure no training steps: no estimate of the time."
)
@click.option(
    "--config",
    "every_option",
    is_flag=True,
    help="Print every option, not only those that differ from their defaults.",
)
@click.option(
    "--picture",
    type=FilePath(),
    multiple=True,
    metavar="FILE",
    help="Draw the samples of each class at each client: .png, .pdf, .svg, .html or .csv.",
)
def plan(
    config: str,
    assignments: tuple[str, ...],
    ranks: int | None,
    no_timing: bool,
    every_option: bool,
    picture: tuple[Path, ...],
) -> None:
    """Say what a run of CONFIG would do and cost.

    Printed are the options that differ from their defaults, the partition, messages, memory, and
    the time on several numbers of ranks. Nothing is written, but --picture, and no MPI is needed. A
    mistake in the config is reported as `run` would report it.

    \b
    mpifl plan configs/demo.toml
    mpifl plan configs/demo.toml clients=100 --ranks 9
    mpifl plan configs/demo.toml --no-timing --picture partition.png   who has which classes
    """
    with one_line_errors():
        if picture:
            _check(picture)
        with imports_for_ranks(mpi=False):
            from mpifl.plan.report import plan

        planned = plan(config, assignments, ranks, not no_timing, every_option)
        if picture:
            _draw(planned, picture)


def _check(picture: tuple[Path, ...]) -> None:
    """Raise BadInput for files that cannot be drawn."""
    from mpifl.analysis.figures import check_installed
    from mpifl.analysis.figures.saving import KINDS
    from mpifl.analysis.files import check_suffixes

    check_suffixes(picture, KINDS)
    check_installed(path.suffix.removeprefix(".") for path in picture)


def _draw(planned: DryRun, picture: tuple[Path, ...]) -> None:
    from mpifl.analysis.figures.saving import save
    from mpifl.analysis.runs.pictures import partition_map

    for path in picture:
        drawn = partition_map(planned.clients.counts(), planned.config.name)
        save(path, [drawn], f"partition of {planned.config.name}")
