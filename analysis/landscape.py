"""`python analysis/landscape.py RUN`: the loss around a run's model, and on the way to others, as
pictures.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

KINDS = ("random", "eigen", "clients")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("run")
@click.option(
    "--round",
    "rounds",
    default="last",
    show_default=True,
    help="A stored round: last, best, or its number.",
)
@click.option(
    "--client", type=int, help="Look around this client's model instead of the global one."
)
@click.option(
    "--along",
    default="random,eigen",
    show_default=True,
    help=f"Some of {', '.join(KINDS)}, with commas.",
)
@click.option(
    "--to",
    multiple=True,
    metavar="RUN",
    help="The way to another run's last model; twice: their plane too.",
)
@click.option(
    "--dims",
    type=click.Choice(["1", "2", "1,2"]),
    default="1,2",
    show_default=True,
    help="Lines, planes.",
)
@click.option("--points", type=int, default=41, show_default=True, help="Along a line.")
@click.option("--side", type=int, default=21, show_default=True, help="Along each side of a plane.")
@click.option(
    "--span",
    type=float,
    default=1.0,
    show_default=True,
    help="How far to look, in units of the directions.",
)
@click.option(
    "--samples",
    type=int,
    default=1000,
    show_default=True,
    help="How many, class-stratified; 0: all.",
)
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of samples and random directions."
)
@click.option(
    "--data-path", default="", help="The packed data set, where it has moved since the run."
)
@click.option("--unfinished", is_flag=True, help="Also look at a run that is still being written.")
@click.option(
    "-o",
    "--out",
    default="landscape",
    show_default=True,
    help="Files to write: OUT.png, OUT.html, OUT.npz.",
)
def main(run: str, **options: Any) -> None:
    """Draw loss and accuracy around a model of RUN: its folder, its results.h5 or a packed file.

    \b
    python analysis/landscape.py runs/demo                          random directions and top eigenvectors
    python analysis/landscape.py runs/demo --along clients          the plane of the clients' models, and lines to them
    python analysis/landscape.py runs/a --along "" --to runs/b      is there a wall between two runs' models?
    mpirun -n 4 python analysis/landscape.py runs/demo              points shared out over four ranks

    random: each filter of a direction has the norm of the model's own, so that models can be compared. eigen: a
    coordinate of 1 is where the quadratic alone would have risen by 1. clients and --to: 0 is the model, 1 the other.
    Losses are means over fixed samples in evaluation mode; BatchNorm's statistics go along with the weights on the way
    to another model. OUT.html needs nothing else; OUT.npz has the numbers.
    """
    from mpifl.runner.exit_codes import on_all_ranks

    sys.exit(on_all_ranks(lambda communicator: _draw(communicator, run, options)))


def _draw(communicator: Any, path: str, options: dict[str, Any]) -> int:
    from mpifl.analysis.landscape.plan import Wanted, planned

    shared = {"path": options.pop("data_path"), "unfinished": options.pop("unfinished")}
    out = Path(options.pop("out"))
    lists = {
        name: [part for part in options.pop(name).split(",") if part] for name in ("along", "dims")
    }
    wanted = Wanted(**options, along=lists["along"], dims=[int(dim) for dim in lists["dims"]])
    communicator.agree(_refuse_missing)
    plan = planned(communicator, path, wanted, **shared)
    seconds = plan.seconds()
    if communicator.is_server:
        count = sum(map(len, plan.panels))
        say = f"{path}: {plan.subject.label}, {count} landscapes of {plan.size:,} points, about {seconds:.0f} s"
        click.echo(f"{say}, {communicator.size} rank{'s'[: communicator.size > 1]}")
    panels = plan.explored()
    communicator.agree(
        lambda: (
            _write(panels, out, f"{path}: {plan.subject.label}") if communicator.is_server else None
        )
    )
    if communicator.is_server:
        for name, barrier in plan.barriers(panels).items():
            click.echo(f"{name}: the loss rises by {barrier:.4g} above the straight line")
    return 0


def _refuse_missing() -> None:
    """BadInput where the extra is not installed: before any work is done."""
    from mpifl.options import BadInput

    missing = [name for name in ("matplotlib", "plotly") if find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        raise BadInput(
            f"landscape: expected {names}, which `pip install -e .[analysis]` brings; got none"
        )


def _write(panels: list[Any], out: Path, title: str) -> None:
    """The picture, the page and the numbers."""
    import io

    import numpy as np

    from mpifl.analysis.figures.matplotlib_figures import rendered
    from mpifl.analysis.landscape.figures import figure, page
    from mpifl.analysis.runs.arguments import write
    from mpifl.options import BadInput

    numbers: dict[str, Any] = {}
    for number, landscape in enumerate(landscape for panel in panels for landscape in panel):
        numbers |= {
            f"{number}_{name}": getattr(landscape, name)
            for name in ("title", "axes", "loss", "accuracy")
        }
        numbers |= {
            f"{number}_coordinates_{axis}": at for axis, at in enumerate(landscape.coordinates)
        }
    image = io.BytesIO()
    np.savez_compressed(image, **numbers)
    files = {
        "png": rendered(figure(panels), "png"),
        "html": page(panels, title).encode(),
        "npz": image.getbuffer(),
    }
    try:
        for suffix, content in files.items():
            write(out.with_name(f"{out.name}.{suffix}"), content)
    except OSError as problem:
        raise BadInput(
            f"{problem.filename}: expected a place to write; got {problem.strerror}"
        ) from problem


if __name__ == "__main__":
    main()
