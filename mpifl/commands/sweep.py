"""`mpifl sweep`: the runs of a grid."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mpifl.commands.arguments import HELP, FilePath
from mpifl.commands.process import imports_for_ranks, one_line_errors


@click.command(context_settings=HELP)
@click.argument("sweep", type=FilePath())
@click.option(
    "--task",
    type=click.IntRange(0),
    metavar="N",
    help="Run number N: start it, continue it, or find it done.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Run all of them, one after the other; again: continue, or nothing.",
)
@click.option(
    "--missing",
    is_flag=True,
    help="Print the numbers of runs that are not done, as an array range.",
)
@click.option(
    "--list",
    "listed",
    is_flag=True,
    help="For scripts: a line for each run, with its number, state and folder, separated by tabs; "
    "with --task N, the line of run N.",
)
def sweep(sweep: Path, task: int | None, everything: bool, missing: bool, listed: bool) -> None:
    """List the runs of a grid, SWEEP, or run one or all of them.

    SWEEP is a TOML file. Its runs are listed as done, partial or missing.

    \b
    base = "configs/demo.toml"         a config or a list of them, from the sweep file's folder
    out = "runs/digits"                one folder a run, named by what differs [else: runs/SWEEP]
    [common]                           options of all runs
    rounds = 60
    [cases.method.fedavg]              options that vary together, under names of your own
    algorithm = "fedavg"
    [cases.method.feddyn]
    algorithm = { name = "feddyn", alpha = 0.01 }
    [grid]                             options that vary each by itself; every combination is a run
    seed = [1, 2, 3]

    \b
    mpifl sweep configs/grid.toml                      a table of its runs
    mpirun -n 3 mpifl sweep configs/grid.toml --task 0 one of them; again: continue it, or nothing
    mpirun -n 3 mpifl sweep configs/grid.toml --all    all, one after the other
    sbatch --array=$(mpifl sweep grid.toml --missing) jobs/sweep.sbatch grid.toml
    """
    if everything and task is None and not (listed or missing):
        _run_all(sweep)
    if task is not None and not (everything or listed or missing):
        _run_one(sweep, task)
    with one_line_errors():
        from mpifl.options import BadInput
        from mpifl.sweep import status

        if everything:
            raise BadInput(
                "command line: expected --all alone; got it with --list, --missing or --task"
            )
        if missing and (listed or task is not None):
            raise BadInput("command line: expected --missing alone; got it with --list or --task")
        if listed:
            status.lines(sweep, task)
        elif missing:
            status.missing(sweep)
        else:
            status.overview(sweep)


def _run_one(sweep: Path, number: int) -> None:
    with imports_for_ranks():
        from mpifl.sweep import task

    sys.exit(task.main(sweep, number))


def _run_all(sweep: Path) -> None:
    with imports_for_ranks():
        from mpifl.sweep import task

    sys.exit(task.all_in_turn(sweep))
