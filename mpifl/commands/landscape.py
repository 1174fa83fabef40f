"""`mpifl landscape`: the loss around a run's model, and on the way to others, as pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mpifl.commands.arguments import (
    DATA_PATH,
    HELP,
    PLUGINS_OF_RUN,
    UNFINISHED,
    FilePath,
    split,
)
from mpifl.commands.process import imports_for_ranks


@click.command(context_settings=HELP)
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--round",
    "rounds",
    default="last",
    show_default=True,
    help="A stored round: last, best, or its number.",
)
@click.option("--client", type=int, help="Start from this client's model, not the global one.")
@click.option(
    "--along",
    default="random,eigen",
    show_default=True,
    metavar="NAME,...",
    help='Some of random, eigen, clients. Empty (""): none, only --to.',
)
@click.option(
    "--to",
    multiple=True,
    metavar="RUN",
    help="Another run: the line to its last model; twice: their plane too.",
)
@click.option(
    "--dims",
    type=click.Choice(["1", "2", "1,2"]),
    default="1,2",
    show_default=True,
    help="Lines, planes, or both.",
)
@click.option("--points", type=int, default=41, show_default=True, help="How many along a line.")
@click.option(
    "--side",
    type=int,
    help="How many along each side of a plane [default: 21; with --scale unit 41].",
)
@click.option(
    "--span",
    type=float,
    default=1.0,
    show_default=True,
    help="How far to go, in units of the directions.",
)
@click.option(
    "--scale",
    type=click.Choice(["rise", "unit"]),
    default="rise",
    show_default=True,
    help="Of eigenvectors: 1 is where the quadratic term alone is 1, or a step of length 1.",
)
@click.option(
    "--samples",
    type=int,
    default=1000,
    show_default=True,
    help="How many, class-stratified; 0: all.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="train",
    show_default=True,
    help="Which samples of the data set.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of samples and random directions."
)
@DATA_PATH
@PLUGINS_OF_RUN
@UNFINISHED
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    default="landscape",
    show_default=True,
    help="Files to write: OUT.png, OUT.html, OUT.npz; OUT may have one of these suffixes.",
)
def landscape(
    runs: tuple[str, ...],
    along: str,
    dims: str,
    data_path: str,
    plugins: tuple[Path, ...],
    unfinished: bool,
    out: Path,
    **options: Any,
) -> None:
    """Draw the loss around a stored model of each of RUNS.

    Also on straight lines to other models. RUNS are folders, results.h5 or packed files.

    \b
    mpifl landscape runs/demo                       random directions and top eigenvectors
    mpifl landscape runs/demo --along clients       the clients' plane, and lines to their models
    mpifl landscape runs/a --along "" --to runs/b   is there a barrier between two runs' models?
    mpirun -n 4 mpifl landscape runs/demo           the points shared out over four ranks
    mpifl landscape runs/a runs/b --along eigen --scale unit   which of two models is sharper?

    random: each filter of the direction has the norm of the model's own filter, so that models can
    be compared. eigen: at a coordinate of 1, the quadratic term alone would have raised the loss by
    1, so that all models look alike near 0; with --scale unit a coordinate of 1 is a step of length
    1, so that a sharper model has steeper walls (FedAlign's figure 1). clients and --to: 0 is the
    model, 1 the other; BatchNorm's statistics are interpolated like the weights. Losses are means
    over fixed samples in evaluation mode.

    Of several RUNS, lines of one kind share a panel, and planes of one kind a scale of loss.

    OUT.png is a picture, OUT.html a page to turn the planes around, OUT.npz has the numbers.
    """
    with imports_for_ranks():
        from mpifl.analysis.landscape import session
        from mpifl.analysis.landscape.plan import LandscapeOptions

    chosen = LandscapeOptions(along=split(along), dims=[int(dim) for dim in split(dims)], **options)
    sys.exit(session.main(runs, chosen, out, data_path, plugins, unfinished))
