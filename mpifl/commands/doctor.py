"""`mpifl doctor`: is this job set up well."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mpifl.commands.arguments import ASSIGNMENTS, HELP, ConfigCommand, FilePath
from mpifl.commands.process import imports_for_ranks


@click.command(cls=ConfigCommand, context_settings=HELP)
@click.argument("config", required=False)
@ASSIGNMENTS
@click.option(
    "--mb",
    type=click.FloatRange(1e-5),
    default=4,
    show_default=True,
    help="The largest message, in MB.",
)
@click.option(
    "--save",
    type=FilePath(),
    metavar="FILE",
    help="Also write the times of the messages to FILE, for `mpifl plan --network FILE`.",
)
def doctor(config: str | None, assignments: tuple[str, ...], mb: float, save: Path | None) -> None:
    """Examine the MPI job: its ranks, devices and messages.

    Start it as you would start a run. It says whether the ranks are one job, where each runs and
    on which device, and how fast messages travel; with CONFIG also messages of the size of its
    model. Exit code 2: the launcher and the MPI library do not belong together.

    \b
    mpirun -n 3 mpifl doctor
    srun mpifl doctor configs/demo.toml
    srun mpifl doctor --mb 100 --save network.json      for mpifl plan --nodes
    """
    with imports_for_ranks(mpi=False):
        from mpifl.plan import doctor

    sys.exit(doctor.main(config, assignments, mb, save))
