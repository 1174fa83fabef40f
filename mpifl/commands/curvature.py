"""`mpifl curvature`: pictures of what `mpifl hessian` has measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpifl.commands.arguments import BAND, BY, HELP, LABELS, RUNS, TITLE, FilePath, open_groups
from mpifl.commands.process import one_line_errors

if TYPE_CHECKING:
    from mpifl.analysis.figures.panels import Band, Panel
    from mpifl.analysis.runs.groups import Group

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
@click.option(
    "--local-against-global",
    is_flag=True,
    help="Of one RUN: print and draw what `mpifl hessian --local-against-global` measured.",
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
    local_against_global: bool,
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

    \b
    mpifl hessian runs/avg-1 --rounds all --local-against-global
    mpifl curvature runs/avg-1 --local-against-global -o local.png -o local.html

    With --local-against-global: is flat for the client flat for the federation? A table of the last
    measured round, what follows from it by round, and panels: by round the means over clients, and
    a point for each client of the last round.

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
        heading = title or ", ".join(group.label for group in groups)
        if local_against_global:
            panels = _local_against_global(groups, measurement)
        else:
            panels = curvature_panels(groups, measurement)
        for path in out or _DEFAULT:
            save(path, panels, heading, band)


def _local_against_global(groups: list[Group], measurement: str) -> list[Panel]:
    """Print the tables of the one run, and return its panels. Raises BadInput."""
    from mpifl.analysis.flatness.comparison import comparisons
    from mpifl.analysis.flatness.panels import local_global_panels
    from mpifl.analysis.flatness.report import say_comparisons
    from mpifl.analysis.runs.curves import run_name
    from mpifl.options import BadInput
    from mpifl.store.measurements import Findings

    runs = [run for group in groups for run in group.runs]
    if len(runs) != 1:
        raise BadInput(
            f"--local-against-global: expected one run; got {len(runs)}; for several: `mpifl table`"
        )
    [run] = runs
    found = comparisons(Findings.open(run), measurement)
    if not found:
        made_by = f"`mpifl hessian {run.path} --local-against-global`"
        raise BadInput(
            f"{run.path}: expected measurement {measurement!r} of local models against the global "
            f"one, made by {made_by}; got none"
        )
    say_comparisons(f"{run.path}, {measurement}", found)
    return local_global_panels(found, run_name(run))
