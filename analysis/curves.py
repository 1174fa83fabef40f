"""Curves of finished or running runs, mean and band over seeds: `python analysis/curves.py runs/a
runs/b -o c.png`.
"""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.analysis.figures.panels import Band, Panel
from mpifl.analysis.runs.arguments import check_suffixes, names, on_groups
from mpifl.analysis.runs.comparison import published
from mpifl.analysis.runs.curves import curve_panels
from mpifl.analysis.runs.groups import Group
from mpifl.commands.process import one_line_errors

_OUT = [Path("curves.png")]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@on_groups
@click.option(
    "--y",
    "quantities",
    default="accuracy,loss",
    show_default=True,
    metavar="NAME,...",
    help="What to draw.",
)
@click.option(
    "--x", "over", default="round", show_default=True, metavar="NAME,NAME", help="Over what."
)
@click.option(
    "--band", type=click.Choice(["std", "sem", "range", "none"]), default="std", show_default=True
)
@click.option("--log", default="", metavar="NAME,NAME", help="Quantities on a logarithmic axis.")
@click.option(
    "--published",
    "quoted",
    is_flag=True,
    help="Dotted lines at the accuracies that the configs quote.",
)
@click.option("--title", default="", help="Of the HTML page [default: the groups' names].")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A file; may be given several times.",
)
def main(
    groups: list[Group],
    quantities: str,
    over: str,
    band: Band,
    log: str,
    quoted: bool,
    title: str,
    out: tuple[Path, ...],
) -> None:
    """Draw curves of RUNS: folders, results.h5 or packed files; runs that are still going on too.

    Runs that differ in nothing but their seeds are one line: their mean, and a band of one standard deviation.

    \b
    python analysis/curves.py runs/fedavg-* runs/feddyn-*               accuracy and loss by round, in curves.png
    python analysis/curves.py runs/* --x round,bytes,seconds -o c.pdf   what an accuracy costs
    python analysis/curves.py runs/* -o c.html -o c.csv                 a page to hover over, and its numbers
    python analysis/curves.py runs/* --y training_loss,lr --log training_loss

    Names are accuracy, loss, training_loss, training_accuracy, bytes, seconds, and every column of /rounds, such as
    test_accuracy_all. Over bytes and seconds a point stands at the mean of its runs. Suffixes are .png, .pdf, .svg,
    .html (self-contained) and .csv.
    """
    from mpifl.analysis.figures.saving import KINDS, save

    check_suffixes(out, KINDS)
    across = names(over)
    panels = curve_panels(groups, names(quantities), across, names(log))
    if quoted:
        panels = [_marked(panel, groups) for panel in panels]
    for path in out or _OUT:
        save(
            path,
            panels,
            title or ", ".join(group.label for group in groups),
            band,
            max(2, len(across)),
        )


def _marked(panel: Panel, groups: list[Group]) -> Panel:
    """With each group's published accuracy, where the panel is of accuracy."""
    if not panel.y_title.startswith("test accuracy"):
        return panel
    known = [published(group.options).get("final_accuracy") for group in groups]
    return Panel(**{**vars(panel), "marks": [None if one is None else one.value for one in known]})


if __name__ == "__main__":
    with one_line_errors():
        main()
