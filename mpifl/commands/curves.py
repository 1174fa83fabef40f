"""`mpifl curves`: curves of runs, mean and band over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpifl.commands.arguments import (
    BAND,
    BY,
    HELP,
    LABELS,
    RUNS,
    TITLE,
    FilePath,
    open_groups,
    split,
)
from mpifl.commands.process import one_line_errors

if TYPE_CHECKING:
    from mpifl.analysis.figures.panels import Band

_DEFAULT = (Path("curves.png"),)


@click.command(context_settings=HELP)
@RUNS
@BY
@LABELS
@click.option(
    "--y",
    "quantities",
    default="accuracy,loss",
    show_default=True,
    metavar="NAME,...",
    help="What to draw.",
)
@click.option(
    "--x",
    "over",
    default="round",
    show_default=True,
    metavar="NAME,...",
    help="What to draw it over, such as round, bytes, seconds.",
)
@BAND
@click.option("--log", default="", metavar="NAME,...", help="Quantities on a logarithmic axis.")
@click.option(
    "--published",
    "with_published",
    is_flag=True,
    help="Dotted lines at the accuracies that the configs quote from papers.",
)
@TITLE
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    multiple=True,
    help="A file to write; may be given several times [default: curves.png].",
)
def curves(
    runs: tuple[str, ...],
    by: str,
    labels: tuple[str, ...],
    quantities: str,
    over: str,
    band: Band,
    log: str,
    with_published: bool,
    title: str,
    out: tuple[Path, ...],
) -> None:
    """Draw curves of RUNS: accuracy, loss and others.

    RUNS are folders, results.h5 or packed files; also runs that are still running. Runs that differ
    only in their seeds are one line: their mean, with a band of one standard deviation.

    \b
    mpifl curves runs/fedavg-* runs/feddyn-*                  accuracy and loss by round: curves.png
    mpifl curves runs/* --x round,bytes,seconds -o c.pdf      what an accuracy costs
    mpifl curves runs/* -o c.html -o c.csv                    a page to hover over, and its numbers
    mpifl curves runs/* --y training_loss,lr --log training_loss

    Names are accuracy, loss, training_loss, training_accuracy, bytes, seconds, and every column of
    /rounds, such as own_accuracy. Over bytes and seconds a point stands at the mean of its
    runs. Files end in .png, .pdf, .svg, .html (one page that needs nothing else) or .csv.
    """
    with one_line_errors():
        from mpifl.analysis.figures import check_installed
        from mpifl.analysis.figures.saving import KINDS, save
        from mpifl.analysis.files import check_suffixes
        from mpifl.analysis.runs.curves import curve_panels
        from mpifl.analysis.runs.published import departure_notes, with_published_accuracy
        from mpifl.options import BadInput
        from mpifl.terminal import say

        check_suffixes(out or _DEFAULT, KINDS)
        check_installed(path.suffix.removeprefix(".") for path in out or _DEFAULT)
        axes = split(over)
        drawn = split(quantities)
        for option, names in (("--x", axes), ("--y", drawn)):
            if not names:
                raise BadInput(f"{option}: expected names of quantities; got none")
        groups = open_groups(runs, by, labels, drawn)
        panels = curve_panels(groups, drawn, axes, split(log))
        if with_published:
            panels = [with_published_accuracy(panel, groups) for panel in panels]
            for note in departure_notes(groups):
                say(note, error=True)
        heading = title or ", ".join(group.label for group in groups)
        for path in out or _DEFAULT:
            save(path, panels, heading, band, max(2, len(axes)))
