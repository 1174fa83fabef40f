"""`mpifl table`: a table of methods over seeds, beside published numbers."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import BY, HELP, LABELS, RUNS, FilePath, open_groups, split
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP)
@RUNS
@BY
@LABELS
@click.option(
    "--target",
    type=float,
    help="An accuracy, 0 to 1: rounds, FLOP, bytes and seconds until it is reached.",
)
@click.option(
    "--last",
    type=click.IntRange(1),
    help="How many last evaluations are averaged  [default: 1; with --paired 5].",
)
@click.option(
    "--paired",
    "baseline",
    is_flag=False,
    flag_value="",
    metavar="[BASELINE]",
    help="Differences to a baseline over the same seeds: a method's label, or one of its runs "
    "[default: the first method].",
)
@click.option(
    "--unshared",
    default="",
    metavar="NAME,...",
    help="What runs of one seed need not share for --paired.",
)
@click.option(
    "--columns",
    default="",
    metavar="NAME,...",
    help="Which columns to show [default: what the runs have]; names as `mpifl curves --help` "
    "lists them, final, best, lambda_max, H_T, H_N, H_D; with --paired also mean (of the --last) "
    "and last; after --local-against-global lambda_max_local, lambda_max_global, flatness_gap, "
    "inconsistency.",
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
    last: int | None,
    baseline: str | None,
    unshared: str,
    columns: str,
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

    --paired gives the mean difference of each method to a baseline, over the seeds that both have,
    with its 95 % confidence interval, and says when seeds are too few to tell. Runs of one seed
    must share data, partition, hold-outs, cohorts, work, initial-weights, augmentation and
    evaluated-samples: what differs is named and refused, unless --unshared allows it.

    \b
    mpifl table runs/avg-* runs/man-* --paired          against the first method
    mpifl table --paired runs/avg-1 runs/*              against the method of this run
    mpifl table runs/* --paired fedavg --last 10 -o differences.csv

    Where runs hold samples or clients out ([holdout]) or evaluate training samples
    (evaluation.train_every), columns show the clients' own test sets, their worst tenth, unseen
    clients and the gaps.

    Runs that differ only in the domains that they leave out (holdout.domains) are one row: each
    left-out domain, mean and worst, at the last round and at the round that is best on the domains
    that train (source-best).

    Curvature (largest eigenvalue, H_T, H_N, H_D) is there where `mpifl hessian RUN` has measured
    it, λ_max local and global after `mpifl hessian RUN --local-against-global`. Numbers in a
    config's [published] stand beside ours, with the difference; without it, and with a note, where
    options that matter were overridden or rounds are missing. `30 (2 of 3)` is the mean of the two
    runs that reached the target; `> 40`: none did in 40 rounds.
    """
    with one_line_errors():
        from mpifl.analysis.files import check_suffixes, write
        from mpifl.analysis.runs import paired_formats
        from mpifl.analysis.runs.comparison import compare
        from mpifl.analysis.runs.paired import Pairing, compare_paired
        from mpifl.analysis.runs.table_formats import FORMATS
        from mpifl.options import BadInput
        from mpifl.terminal import say

        check_suffixes(out, FORMATS)
        if baseline is None:
            if unshared:
                raise BadInput("command line: expected --paired with --unshared; got none")
            groups = open_groups(runs, by, labels, ["accuracy"], over_domains=True)
            against = f"{against}_accuracy"
            made = compare(
                groups, target, last or 1, paper_table, against, measurement, split(columns)
            )
            texts = {suffix: form(made) for suffix, form in FORMATS.items()}
        else:
            groups = open_groups(_with(baseline, runs), by, labels, ["accuracy"])
            how = Pairing(baseline, last or 5, target, measurement, split(columns), split(unshared))
            paired = compare_paired(groups, how)
            texts = {suffix: form(paired) for suffix, form in paired_formats.FORMATS.items()}
        if not out:
            say(texts["md"].removesuffix("\n"))
        for path in out:
            write(path, texts[path.suffix.removeprefix(".")].encode())


def _with(baseline: str, runs: tuple[str, ...]) -> tuple[str, ...]:
    """The runs, and the baseline where it is the path of one that is not among them."""
    is_given = any(Path(baseline).resolve() == Path(run).resolve() for run in runs)
    if not baseline or is_given or not Path(baseline).exists():
        return runs
    return (baseline, *runs)
