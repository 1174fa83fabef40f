"""`mpifl curves`: curves of runs, mean and band over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpifl.analysis.runs.quantities import HELP as NAMES
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
    from mpifl.analysis.figures.heat_maps import HeatMap
    from mpifl.analysis.figures.panels import Band, Panel
    from mpifl.analysis.runs.groups import Group


@click.command(
    context_settings=HELP,
    epilog=f"\b\nNames (where one begins with _, put it after the one before):\n{NAMES}",
)
@RUNS
@BY
@LABELS
@click.option(
    "--what",
    type=click.Choice(["curves", "classes", "clients", "calibration", "partition"]),
    default="curves",
    show_default=True,
    help="Curves, or a picture of the last evaluation or of the partition.",
)
@click.option(
    "--y",
    "quantities",
    default="",
    metavar="NAME,...",
    help="What to draw  [default: accuracy,loss].",
)
@click.option(
    "--x",
    "over",
    default="",
    metavar="NAME,...",
    help="What to draw it over, such as round, bytes, seconds  [default: round].",
)
@click.option(
    "--on",
    type=click.Choice(["test", "train", "own"]),
    help="Of --what classes and calibration: the test set, the samples that train, or the clients' "
    "own test sets  [default: test].",
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
    help="A file to write; may be given several times  [default: curves.png, classes.png ...].",
)
def curves(
    runs: tuple[str, ...],
    by: str,
    labels: tuple[str, ...],
    what: str,
    quantities: str,
    over: str,
    on: str | None,
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

    Runs of one method differ in bytes and seconds: a point is at their mean. Files end in .png,
    .pdf, .svg, .html (one page that needs nothing else) or .csv. Names stand below the options.

    --what draws other pictures:

    \b
    classes      accuracy of each class: in the last evaluation, and a map of class by round
    clients      accuracy of each client, sorted, with the worst tenth marked
    calibration  reliability diagram: accuracy by confidence, and samples by confidence
    partition    samples of each class at each client; before a run: mpifl plan --picture

    \b
    mpifl curves runs/fedavg-* runs/sam-* --what clients
    mpifl curves runs/fedavg-1 --what classes --on own -o classes.html
    """
    with one_line_errors():
        from mpifl.analysis.figures import check_installed
        from mpifl.analysis.figures.saving import KINDS, save
        from mpifl.analysis.files import check_suffixes
        from mpifl.analysis.runs.pictures import PICTURES
        from mpifl.options import BadInput

        files = out or (Path(f"{what}.png"),)
        check_suffixes(files, KINDS)
        check_installed(path.suffix.removeprefix(".") for path in files)
        is_picture = what != "curves"
        if is_picture and (quantities or over or log or with_published):
            raise BadInput(f"--what {what}: expected it without --y, --x, --log and --published")
        if on and what not in ("classes", "calibration"):
            raise BadInput(f"--on: expected it with --what classes or calibration; got {what}")
        if is_picture:
            groups = open_groups(runs, by, labels, [] if what == "partition" else ["accuracy"])
            pictures = PICTURES[what](groups, on or "test")
            across = 2 if len(pictures) == 4 else 3
        else:
            axes = split(over or "round")
            drawn = split(quantities or "accuracy,loss")
            groups, pictures = _curves(runs, by, labels, drawn, axes, split(log), with_published)
            across = max(2, len(axes))
        heading = title or ", ".join(group.label for group in groups)
        for path in files:
            save(path, pictures, heading, band, across)


def _curves(
    runs: tuple[str, ...],
    by: str,
    labels: tuple[str, ...],
    drawn: list[str],
    axes: list[str],
    log: list[str],
    with_published: bool,
) -> tuple[list[Group], list[Panel | HeatMap]]:
    """The runs as groups, and a panel for each of `drawn` over each of `axes`."""
    from mpifl.analysis.runs.curves import curve_panels
    from mpifl.analysis.runs.published import departure_notes, with_published_accuracy
    from mpifl.options import BadInput
    from mpifl.terminal import say

    for option, names in (("--x", axes), ("--y", drawn)):
        if not names:
            raise BadInput(f"{option}: expected names of quantities; got none")
    groups = open_groups(runs, by, labels, drawn)
    panels = curve_panels(groups, drawn, axes, log)
    if with_published:
        panels = [with_published_accuracy(panel, groups) for panel in panels]
        for note in departure_notes(groups):
            say(note, error=True)
    return groups, list(panels)
