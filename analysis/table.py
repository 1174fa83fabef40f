"""A table of methods over seeds, beside published numbers: `python analysis/table.py runs/a runs/b
--target 0.9`.
"""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.analysis.runs.arguments import check_suffixes, on_groups, write
from mpifl.analysis.runs.comparison import compare
from mpifl.analysis.runs.formats import FORMATS
from mpifl.analysis.runs.groups import Group
from mpifl.commands.process import one_line_errors


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@on_groups
@click.option(
    "--target",
    type=float,
    help="An accuracy, 0 to 1: rounds, bytes and seconds until it is reached.",
)
@click.option(
    "--last",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Evaluations that `final` averages.",
)
@click.option(
    "--against",
    type=click.Choice(["final", "best"]),
    default="final",
    show_default=True,
    help="Which accuracy is held against the published one.",
)
@click.option(
    "--measurement", default="exact", show_default=True, help="Of curvature: hessian.py's --name."
)
@click.option(
    "--paper-table", default="", metavar="TEXT", help='Which published table, such as "Table 3".'
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), multiple=True, help="A file: .md, .tex or .csv."
)
def main(
    groups: list[Group],
    target: float | None,
    last: int,
    against: str,
    measurement: str,
    paper_table: str,
    out: tuple[Path, ...],
) -> None:
    """Compare RUNS (folders, results.h5 or packed files) in a table, printed as Markdown or written to files.

    Runs that differ in nothing but their seeds are one row: mean ± sample standard deviation (n - 1).

    \b
    python analysis/table.py runs/fedavg-* runs/feddyn-* --target 0.9
    python analysis/table.py runs/* --last 5 -o table.tex -o table.csv

    Curvature (top eigenvalue, H_T, H_N, H_D) is there where `python analysis/hessian.py RUN` has written it. Numbers in
    a config's [published] stand beside ours with the difference. `30 (2 of 3)`: the mean of the runs that reached the
    target; `> 40`: none did in 40 rounds.
    """
    check_suffixes(out, FORMATS)
    table = compare(groups, target, last, paper_table, f"{against}_accuracy", measurement)
    if not out:
        click.echo(FORMATS["md"](table), nl=False)
    for path in out:
        write(path, FORMATS[path.suffix.removeprefix(".")](table).encode())


if __name__ == "__main__":
    with one_line_errors():
        main()
