"""`mpifl curvature`: pictures of what `mpifl hessian` has measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpifl.commands.arguments import BAND, BY, HELP, LABELS, RUNS, TITLE, FilePath, open_groups
from mpifl.commands.process import one_line_errors

if TYPE_CHECKING:
    from mpifl.analysis.figures.panels import Band

_DEFAULT = (Path("curvature.png"),)


@click.command(context_settings=HELP)
@RUNS
@BY
@LABELS
@click.option(
    "--measurement",
    default="exact",
    show_default=True,
    help="Which measurement: the --name of `mpifl hessian`.",
)
@BAND
@TITLE
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    multiple=True,
    help="A file to write; may be given several times [default: curvature.png].",
)
def curvature(
    runs: tuple[str, ...],
    by: str,
    labels: tuple[str, ...],
    measurement: str,
    band: Band,
    title: str,
    out: tuple[Path, ...],
) -> None:
    """Draw the curvature of RUNS, as `mpifl hessian` measured it.

    RUNS are folders, results.h5 or packed files. Drawn are the largest eigenvalue and the trace of
    the Hessian by round, and the density of its eigenvalues at the last round, all of the global
    models. Runs that differ only in their seeds are one line: their mean, with a band of one
    standard deviation.

    \b
    mpifl hessian runs/avg-1 --rounds all       first measure, here at every stored round
    mpifl curvature runs/avg-1 runs/man-1       then draw: curvature.png
    mpifl curvature runs/* -o c.html -o c.csv   a page to hover over, and its numbers

    Files end in .png, .pdf, .svg, .html (one page that needs nothing else) or .csv.
    """
    with one_line_errors():
        from mpifl.analysis.figures import check_installed
        from mpifl.analysis.figures.saving import KINDS, save
        from mpifl.analysis.files import check_suffixes
        from mpifl.analysis.hessian.panels import curvature_panels

        check_suffixes(out or _DEFAULT, KINDS)
        check_installed(path.suffix.removeprefix(".") for path in out or _DEFAULT)
        groups = open_groups(runs, by, labels)
        panels = curvature_panels(groups, measurement)
        heading = title or ", ".join(group.label for group in groups)
        for path in out or _DEFAULT:
            save(path, panels, heading, band)
