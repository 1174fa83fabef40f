"""`mpifl run`: train, into one folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mpifl.commands.arguments import ASSIGNMENTS, HELP, ConfigCommand, FilePath
from mpifl.commands.process import imports_for_ranks


@click.command(cls=ConfigCommand, context_settings=HELP)
@click.argument("config")
@ASSIGNMENTS
@click.option("--out", type=FilePath(), help="The run's folder [default: runs/NAME].")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the stopped run in the folder; a process that still writes it stops.",
)
@click.option(
    "--resume-or-start", is_flag=True, help="As --resume, but begin where there is no run yet."
)
@click.option(
    "--allow-other-schedule",
    is_flag=True,
    help="Resume with more rounds, though those so far had another schedule; `show` says so.",
)
@click.option(
    "--allow-other-plugins",
    is_flag=True,
    help="Resume even if the run's plugins have changed since; `show` says so.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace the run in the folder; a process that still writes it stops.",
)
def run(
    config: str,
    assignments: tuple[str, ...],
    out: Path | None,
    resume: bool,
    resume_or_start: bool,
    allow_other_schedule: bool,
    allow_other_plugins: bool,
    force: bool,
) -> None:
    """Train: simulate the federation of CONFIG, on one rank or many.

    CONFIG is a TOML file, or a finished run (folder or file), whose config is stored in it. Any
    option can be overridden; values are TOML. `mpifl plan CONFIG --config` prints every option
    with its value; `mpifl explain` says what options mean.

    \b
    mpifl run configs/demo.toml                                on one rank
    mpirun -n 3 mpifl run configs/demo.toml                    on three ranks: the same bits
    mpifl run configs/demo.toml rounds=3 local.lr=0.1          other options
    mpifl run configs/demo.toml 'local.loss=ce(smoothing=0.1)' partition.alpha=0.1
    mpifl run configs/demo.toml --resume                       continue after a stop
    mpifl run runs/demo seed=2 --out runs/demo-2               the same again with another seed

    Everything goes into one folder: results.h5 (a row a round), stored weights, checkpoints.
    """
    with imports_for_ranks():
        from mpifl.runner import session

    target = session.Target(
        folder=out,
        resume=resume or resume_or_start,
        or_start=resume_or_start,
        force=force,
        allow_other_schedule=allow_other_schedule,
        allow_other_plugins=allow_other_plugins,
    )
    sys.exit(session.main(config, assignments, target))
