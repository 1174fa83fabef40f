"""`mpifl table`: a table of methods over seeds, beside published numbers."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import BY, HELP, LABELS, RUNS, FilePath, open_groups
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP)
@RUNS
@BY
@LABELS
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
    help="How many last evaluations `final` averages.",
)
@click.option(
    "--against",
    type=click.Choice(["final", "best"]),
    default="final",
    show_default=True,
    help="Which accuracy is compared with the published one.",
)
@click.option(
    "--measurement",
    default="exact",
    show_default=True,
    help="Which curvature: the --name of `mpifl hessian`.",
)
@click.option(
    "--paper-table", default="", metavar="TEXT", help='Which published table, such as "Table 3".'
)
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    multiple=True,
    help="A file to write: .md, .tex or .csv; may be given several times.",
)
def table(
    runs: tuple[str, ...],
    by: str,
    labels: tuple[str, ...],
    target: float | None,
    last: int,
    against: str,
    measurement: str,
    paper_table: str,
    out: tuple[Path, ...],
) -> None:
    """Compare RUNS in a table: a row for each method, over its seeds.

    RUNS are folders, results.h5 or packed files. Runs that differ only in their seeds are one row:
    mean ± sample standard deviation (n - 1). The table is printed as Markdown, or written to files.

    \b
    mpifl table runs/fedavg-* runs/feddyn-* --target 0.9
    mpifl table runs/* --last 5 -o table.tex -o table.csv

    Where runs hold samples or clients out ([holdout]) or evaluate training samples
    (evaluation.train_every), columns show the clients' own test sets, their worst tenth, unseen
    clients and the gaps.

    Curvature (largest eigenvalue, H_T, H_N, H_D) is there where `mpifl hessian RUN` has measured
    it. Numbers in a config's [published] stand beside ours, with the difference; without it, and
    with a note, where options that matter were overridden or rounds are missing. `30 (2 of 3)` is
    the mean of the two runs that reached the target; `> 40`: none did in 40 rounds.
    """
    with one_line_errors():
        from mpifl.analysis.files import check_suffixes, write
        from mpifl.analysis.runs.comparison import compare
        from mpifl.analysis.runs.table_formats import FORMATS
        from mpifl.terminal import say

        groups = open_groups(runs, by, labels, ["accuracy"])
        check_suffixes(out, FORMATS)
        made = compare(groups, target, last, paper_table, f"{against}_accuracy", measurement)
        if not out:
            say(FORMATS["md"](made).removesuffix("\n"))
        for path in out:
            text = FORMATS[path.suffix.removeprefix(".")](made)
            write(path, text.encode())
