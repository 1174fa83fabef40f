"""`mpifl report`: runs as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpifl.commands.arguments import BAND, BY, HELP, LABELS, RUNS, FilePath, open_groups
from mpifl.commands.process import one_line_errors

if TYPE_CHECKING:
    from mpifl.analysis.figures.panels import Band


@click.command(context_settings=HELP)
@RUNS
@BY
@LABELS
@BAND
@click.option(
    "--target",
    type=float,
    help="An accuracy, 0 to 1: what it cost to reach it [default: the highest whole percentage "
    "that every run has reached].",
)
@click.option("--title", default="", help="Of the page [default: the methods' names].")
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    default="report.html",
    show_default=True,
    help="The page to write.",
)
def report(
    runs: tuple[str, ...],
    by: str,
    labels: tuple[str, ...],
    band: Band,
    target: float | None,
    title: str,
    out: Path,
) -> None:
    """Write all that is known of RUNS into one page.

    RUNS are folders, results.h5 or packed files, or a folder of runs such as a sweep's; also runs
    that are still running. Runs that differ only in their seeds are one method.

    \b
    mpifl report runs/demo                          report.html, to open in any browser
    mpifl report runs/held-out -o held-out.html     all runs of a sweep's folder
    mpifl report runs/avg-* runs/man-* --label FedAvg --label MAN --target 0.9

    \b
    The page has, where the runs have it:
      the runs, and a table of the options in which they differ
      accuracy and loss with bands over seeds, and paired differences
      generalisation and participation gaps
      accuracy by client, class and domain; who has which samples
      what accuracy costs, and where the time went
      curvature, spectra, local against global; landscape; features
      provenance, digests and configs

    It ends with what the runs lack, and with the commands that would add it: `mpifl hessian`,
    `landscape` and `features` keep their numbers beside a run, and the next report shows them.

    The page needs nothing else and loads nothing: copy it from a login node, send it, print it. It
    follows the light or dark colours of the reader's system, and has a switch.
    """
    with one_line_errors():
        from mpifl.analysis.figures import check_installed
        from mpifl.analysis.files import check_suffixes, write
        from mpifl.analysis.runs.listing import with_folders

        check_suffixes([out], ["html"])
        check_installed(["html"])
        groups = open_groups(with_folders(runs), by, labels, ["accuracy"])
        from mpifl.analysis.report.build import report

        write(out, report(groups, title, band, target).encode())
