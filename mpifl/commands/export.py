"""`mpifl export`: runs as long tables, or for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import HELP, FilePath
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP, short_help="Write runs as CSV, Parquet or for TensorBoard.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--to",
    "kind",
    type=click.Choice(["csv", "parquet", "tensorboard"]),
    default="csv",
    show_default=True,
    help="What to write.",
)
@click.option(
    "-o", "--out", type=FilePath(), default=Path("export"), show_default=True, help="The folder."
)
def export(runs: tuple[str, ...], kind: str, out: Path) -> None:
    """Write the results of RUNs for pandas, R, or TensorBoard.

    RUNs are folders, results.h5 or packed files, or folders of runs. csv and parquet are long
    tables: a row for each observation, with a column `run` that joins them.

    \b
    runs          a row for each run, with all its options
    rounds        for each round: accuracy, loss, bytes, seconds, generalisation ...
    clients       for each client of each round: its training loss, weight, seconds ...
    evaluations   for each client, class, domain or bin of confidence of each evaluation

    \b
    mpifl export runs/*                          CSV into export/
    mpifl export runs/demo --to parquet -o out   needs: pip install 'mpifl[parquet]'
    mpifl export runs/* --to tensorboard         needs: pip install 'mpifl[tensorboard]'

    \b
    In Python, from the folder or without it:
      pandas.read_csv("export/rounds.csv")
      pandas.DataFrame(mpifl.analysis.long_tables([mpifl.open("runs/demo")])["rounds"])
    """
    with one_line_errors():
        from mpifl.analysis.export.writing import export as write
        from mpifl.analysis.runs.listing import only_runs, with_folders
        from mpifl.options import BadInput
        from mpifl.store import Run

        found = only_runs(with_folders(runs))
        if not found:
            raise BadInput("runs: expected at least one run; got none")
        write([Run.open(path) for path in found], kind, out)
