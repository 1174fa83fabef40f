"""`mpifl features`: what clients did to their models, and what models make of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from mpifl.commands.arguments import (
    BY,
    DATA_PATH,
    HELP,
    LABELS,
    PLUGINS_OF_RUN,
    RUNS,
    FilePath,
    open_groups,
    split,
)
from mpifl.commands.process import one_line_errors

_PARTS = ("drift", "features")


@click.command(context_settings=HELP)
@RUNS
@BY
@LABELS
@click.option(
    "--what",
    default="drift,features",
    show_default=True,
    metavar="NAME,...",
    help="What to compute.",
)
@click.option(
    "--rounds",
    default="",
    metavar="N,...",
    help="At which rounds [default: all stored with clients].",
)
@click.option(
    "--clients",
    default="all",
    show_default=True,
    metavar="N,...",
    help="Whose features: all, none, or numbers.",
)
@click.option(
    "--on",
    type=click.Choice(["test", "train", "own"]),
    default="test",
    show_default=True,
    help="Images for features; own: each client's own training images.",
)
@click.option(
    "--samples", type=click.IntRange(2), default=1000, show_default=True, help="Images at most."
)
@DATA_PATH
@PLUGINS_OF_RUN
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto: a GPU if there is one.",
)
@click.option(
    "--format",
    "kinds",
    default="png",
    show_default=True,
    metavar="NAME,...",
    help="Some of png, pdf, svg, html, csv.",
)
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    default="figures",
    show_default=True,
    help="The folder to write into.",
)
def features(
    runs: tuple[str, ...],
    by: str,
    labels: tuple[str, ...],
    what: str,
    rounds: str,
    clients: str,
    on: str,
    samples: int,
    data_path: str,
    plugins: tuple[Path, ...],
    device: str,
    kinds: str,
    out: Path,
) -> None:
    """Draw client drift and feature statistics of RUNS.

    RUNS are folders, results.h5 or packed files. Clients' models are stored by runs with
    results.clients_every > 0. Lines are means over runs that differ only in their seeds, bands one
    standard deviation. What has one round only is drawn by layer; its numbers by round are in the
    csv.

    \b
    drift     how far clients move from the model that they were sent, and from their mean,
              by round and by layer; the cosines between their updates
    features  mean square of each layer's activations (what MAN penalises); singular values,
              effective rank and norm of the classifier's input (feature collapse); of the global
              model and of the clients' models

    \b
    mpifl features runs/fedavg-* runs/man-*                   everything, into figures/
    mpifl features runs/* --what drift --format pdf,csv       for a paper, and the numbers
    mpifl features runs/a --on own --rounds 40                clients' models on their own images
    """
    with one_line_errors():
        from mpifl.analysis.clients.saving import draw, save_drawn
        from mpifl.analysis.clients.selection import Selection
        from mpifl.analysis.figures import check_installed
        from mpifl.analysis.figures.saving import KINDS

        parts = _some_of(_PARTS, split(what), "what")
        suffixes = _some_of(KINDS, split(kinds), "format")
        check_installed(suffixes)
        groups = open_groups(runs, by, labels)
        selection = Selection(
            _numbers(rounds, "rounds"), _whose(clients), on, samples, data_path, device, plugins
        )
        save_drawn(draw(groups, selection, parts), out, suffixes)


def _some_of(allowed: Sequence[str], given: list[str], where: str) -> list[str]:
    from mpifl.options import BadInput

    if not given or not set(given) <= set(allowed):
        got = ", ".join(given) or "none"
        raise BadInput(f"{where}: expected some of {', '.join(allowed)}; got {got}")
    return given


def _whose(clients: str) -> list[int] | None:
    """The clients' numbers; None for all that are stored."""
    if clients == "all":
        return None
    if clients == "none":
        return []
    return _numbers(clients, "clients")


def _numbers(text: str, where: str) -> list[int]:
    from mpifl.options import BadInput

    try:
        return [int(number) for number in split(text)]
    except ValueError:
        expected = "whole numbers with commas between"
        raise BadInput(f"{where}: expected {expected}; got {text!r}") from None
