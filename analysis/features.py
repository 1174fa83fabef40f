"""Drift of clients, activations and features of stored models: `python analysis/features.py runs/a
runs/b -o figs`.
"""

from __future__ import annotations

from pathlib import Path

import click

from mpifl.analysis.runs.arguments import names, on_groups
from mpifl.analysis.runs.groups import Group
from mpifl.commands.process import one_line_errors
from mpifl.options import BadInput

_PARTS = ("drift", "features")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@on_groups
@click.option(
    "--what",
    default="drift,features",
    show_default=True,
    metavar="NAME,...",
    help="What to look at.",
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
    help="Whose features: all, none, ids.",
)
@click.option(
    "--on",
    type=click.Choice(["test", "train", "own"]),
    default="test",
    show_default=True,
    help="Images for features; own: a client's own training images.",
)
@click.option(
    "--samples", type=click.IntRange(2), default=1000, show_default=True, help="Images at most."
)
@click.option(
    "--data-path",
    "data",
    default="",
    help="The packed data set, where it has moved since the runs.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option(
    "--format",
    "kinds",
    default="png",
    show_default=True,
    metavar="NAME,...",
    help="png pdf svg html csv",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default="figures",
    show_default=True,
    help="A folder.",
)
def main(
    groups: list[Group],
    what: str,
    rounds: str,
    clients: str,
    on: str,
    samples: int,
    data: str,
    device: str,
    kinds: str,
    out: Path,
) -> None:
    """Look at the stored models of RUNS, global and clients': figures into a folder.

    \b
    drift     how far clients go from what they were sent, how far they are from their mean, by round and layer;
              the cosines between their updates, as means and as a square of clients
    features  size of the activations by layer (what MAN penalises), singular values, effective rank and norms of what
              enters the classifier (feature collapse), of the global model and of the clients' models

    \b
    python analysis/features.py runs/fedavg-* runs/man-*                 all there is, into figures/
    python analysis/features.py runs/* --what drift --format pdf,csv     for a paper, and the numbers
    python analysis/features.py runs/a --on own --rounds 40              clients' models on their own images

    Clients are stored where a run was made with results.clients_every. Lines are means over the runs of a group that
    differ in nothing but their seeds, bands one standard deviation.
    """
    from mpifl.analysis.clients.panels import drift_panels, feature_panels
    from mpifl.analysis.clients.request import Looks
    from mpifl.analysis.figures.matplotlib_figures import FORMATS
    from mpifl.analysis.figures.saving import KINDS, save, save_cosines
    from mpifl.analysis.hessian.metrics import GLOBAL

    parts, kept = _known(names(what), _PARTS, "what"), _known(names(kinds), KINDS, "format")
    whose = (
        {"all": None, "none": ()}[clients]
        if clients in ("all", "none")
        else _numbers(clients, "clients")
    )
    looks = Looks(_numbers(rounds, "rounds"), whose, on, samples, data, device)
    drawn = {}
    if "drift" in parts:
        drifts = {group.label: [looks.drift(run) for run in group.runs] for group in groups}
        drawn["drift"] = drift_panels(drifts)
    if "features" in parts:
        seen = {group.label: [looks.features(run) for run in group.runs] for group in groups}
        drawn["features"] = feature_panels(seen)
        if all((one["client"] != GLOBAL).any() for runs in seen.values() for one in runs):
            drawn["features-clients"] = feature_panels(seen, clients=True)
    for kind in kept:
        for name, panels in drawn.items():
            save(out / f"{name}.{kind}", panels)
        if "drift" in parts and kind in FORMATS:
            save_cosines(out / f"cosines.{kind}", drifts)


def _known(given: list[str], allowed: tuple[str, ...], where: str) -> list[str]:
    if not given or not set(given) <= set(allowed):
        raise BadInput(
            f"{where}: expected some of {', '.join(allowed)}; got {', '.join(given) or 'none'}"
        )
    return given


def _numbers(text: str, where: str) -> list[int]:
    try:
        return [int(number) for number in names(text)]
    except ValueError:
        raise BadInput(
            f"{where}: expected whole numbers with commas between; got {text!r}"
        ) from None


if __name__ == "__main__":
    with one_line_errors():
        main()
