"""Drift of clients, activations and features of stored models: `python analysis/features.py runs/a runs/b -o figs`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import torch

from mpifl.cli import exit_code
from mpifl.settings import BadInput
from mpifl.store import Run
from mpifl.study.commands import names, on_groups, write
from mpifl.study.drawing import FORMATS, figure, matrices, rendered
from mpifl.study.drift import drift
from mpifl.study.features import Images, features, models, subset
from mpifl.study.formats import comma_separated
from mpifl.study.groups import Group
from mpifl.study.metrics import GLOBAL
from mpifl.study.page import page
from mpifl.study.panels import Panel, points
from mpifl.study.pictures import drift_panels, feature_panels
from mpifl.study.revisit import Revisited, revisit

_KINDS = (*FORMATS, "html", "csv")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@on_groups
@click.option("--what", default="drift,features", show_default=True, metavar="NAME,...", help="What to look at.")
@click.option("--rounds", default="", metavar="N,...", help="At which rounds [default: all stored with clients].")
@click.option("--clients", default="all", show_default=True, metavar="N,...", help="Whose features: all, none, ids.")
@click.option(
    "--on",
    type=click.Choice(["test", "train", "own"]),
    default="test",
    show_default=True,
    help="Images for features; own: a client's own training images.",
)
@click.option("--samples", type=click.IntRange(2), default=1000, show_default=True, help="Images at most.")
@click.option("--data-path", "data", default="", help="The packed data set, where it has moved since the runs.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--format", "kinds", default="png", show_default=True, metavar="NAME,...", help=", ".join(_KINDS))
@click.option("-o", "--out", type=click.Path(path_type=Path), default="figures", show_default=True, help="A folder.")
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
    parts, kept = _known(names(what), ("drift", "features"), "what"), _known(names(kinds), _KINDS, "format")
    chosen = _numbers(rounds, "rounds")
    wanted = {"all": None, "none": ()}.get(clients) if clients in ("all", "none") else _numbers(clients, "clients")
    if "drift" in parts:
        found = {group.label: [_drift(run, chosen, data) for run in group.runs] for group in groups}
        _save(out / "drift", drift_panels(found), kept)
        _save_cosines(out / "cosines", found, kept)
    if "features" in parts:
        looks = {
            group.label: [_features(run, chosen, wanted, on, samples, data, device) for run in group.runs]
            for group in groups
        }
        _save(out / "features", feature_panels(looks), kept)
        if all((look["client"] != GLOBAL).any() for group in looks.values() for look in group):
            _save(out / "features-clients", feature_panels(looks, clients=True), kept)


def _known(given: list[str], allowed: tuple[str, ...], where: str) -> list[str]:
    if not given or not set(given) <= set(allowed):
        raise BadInput(f"{where}: expected some of {', '.join(allowed)}; got {', '.join(given) or 'none'}")
    return given


def _numbers(text: str, where: str) -> list[int]:
    try:
        return [int(number) for number in names(text)]
    except ValueError:
        raise BadInput(f"{where}: expected whole numbers with commas between; got {text!r}") from None


def _drift(run: Run, rounds: list[int], data: str) -> dict[str, np.ndarray]:
    """The drift of one run; where round 1 is wanted, from its initial weights."""
    first = 1 in run.saved_rounds and "clients" in run.saved_arrays[1] and (not rounds or 1 in rounds)
    return drift(run, rounds, revisit(run, data).initial()[0] if first else None)


def _features(
    run: Run, rounds: list[int], clients: list[int] | None, on: str, samples: int, data: str, device: str
) -> dict[str, np.ndarray]:
    of = revisit(run, data, device)
    rounds = rounds or _with_clients(run) or run.saved_rounds
    number, images = models(run, rounds, clients), _images(of, on, samples)
    what = f"{run.path}: {number} model{'s'[: number > 1]} at {len(rounds)} round{'s'[: len(rounds) > 1]}"
    with click.progressbar(length=number, label=what, file=sys.stderr) as bar:
        return features(of, rounds, clients, images, watch=lambda: bar.update(1))


def _with_clients(run: Run) -> list[int]:
    return [round for round in run.saved_rounds if "clients" in run.saved_arrays[round]]


def _images(of: Revisited, on: str, samples: int) -> Images:
    """The global model is looked at on everybody's training images where clients are on their own."""
    common = subset(of.dataset.test if on == "test" else of.dataset.train, samples)
    return lambda client: common if on != "own" or client == GLOBAL else subset(of.own(client), samples)


def _save(path: Path, panels: list[Panel], kinds: list[str]) -> None:
    for kind in kinds:
        if kind == "html":
            made = page(panels, path.name).encode()
        elif kind == "csv":
            made = comma_separated(list(points(panels))).encode()
        else:
            made = rendered(figure(panels, 3), kind)
        write(path.with_suffix(f".{kind}"), made)


def _save_cosines(path: Path, found: dict[str, list[dict[str, np.ndarray]]], kinds: list[str]) -> None:
    """The last round of each group's first run."""
    first = [runs[0] for runs in found.values()]
    there = [run["client"][-1] >= 0 for run in first]
    ids = [run["client"][-1][known].tolist() for run, known in zip(first, there, strict=True)]
    squares = [run["cosine_whole"][-1][np.ix_(known, known)] for run, known in zip(first, there, strict=True)]
    labels = [f"{label}\nround {run['round'][-1]}" for label, run in zip(found, first, strict=True)]
    for kind in kinds:
        if kind in FORMATS:
            write(path.with_suffix(f".{kind}"), rendered(matrices(labels, ids, squares, "cosine of updates"), kind))


if __name__ == "__main__":
    with exit_code():
        main()
