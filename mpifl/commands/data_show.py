"""`mpifl data show`: a sheet of samples of a packed data set."""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.commands.arguments import HELP, FilePath
from mpifl.commands.process import one_line_errors


@click.command(context_settings=HELP)
@click.argument("file", type=FilePath())
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    default="sheet.png",
    show_default=True,
    help="The picture to write: .png, .pdf or .svg.",
)
@click.option(
    "--part",
    type=click.Choice(["train", "test"]),
    default="train",
    show_default=True,
    help="Which samples.",
)
@click.option(
    "--classes",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Draw at most so many classes, the first ones.",
)
@click.option(
    "--across",
    type=click.IntRange(min=1),
    help="Samples of each class, in each domain  [default: 8, or 4 with domains].",
)
def data_show(file: Path, out: Path, part: str, classes: int, across: int | None) -> None:
    """Draw samples of FILE, a packed data set: a row for each class, a block for each domain.

    Look at them before you train: are they upright, in the right colours, of the right class? The
    number before each row counts all samples of this class (in this domain). Those drawn are spread
    evenly over the file.

    \b
    mpifl data show data/cifar100.h5
    mpifl data show data/pacs.h5 --across 6 -o pacs.pdf
    mpifl data show data/cifar100.h5 --part test --classes 100
    """
    with one_line_errors():
        from mpifl.analysis.figures import check_installed
        from mpifl.analysis.figures.panels import PICTURES
        from mpifl.analysis.files import check_suffixes

        check_suffixes([out], PICTURES)
        check_installed([out.suffix.removeprefix(".")])
        from mpifl.analysis.sheet import draw

        draw(file, out, part, classes, across or 0)
