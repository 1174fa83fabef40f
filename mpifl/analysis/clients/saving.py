"""The figures of `mpifl features`, drawn for groups of runs and written into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mpifl.analysis.clients.panels import Arrays, drift_panels, feature_panels
from mpifl.analysis.clients.selection import Selection
from mpifl.analysis.clients.stored import keep_features
from mpifl.analysis.figures.panels import PICTURES, Panel
from mpifl.analysis.figures.saving import save, save_cosines
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.analysis.runs.curves import run_name
from mpifl.analysis.runs.groups import Group
from mpifl.store import Run


@dataclass
class Drawn:
    """Figures by the name of their file; the drift and the seeds of each group's runs."""

    figures: dict[str, list[Panel]] = field(default_factory=dict)
    drifts: dict[str, list[Arrays]] = field(default_factory=dict)
    seeds: dict[str, list[int]] = field(default_factory=dict)


def draw(groups: Sequence[Group], selection: Selection, parts: Sequence[str]) -> Drawn:
    """Compute and draw those of "drift" and "features" that are in `parts`. Raises BadInput."""
    drawn = Drawn()
    if "drift" in parts:
        for group in groups:
            drawn.drifts[group.label] = [selection.drift(run) for run in group.runs]
            drawn.seeds[group.label] = [run.seed for run in group.runs]
        drawn.figures["drift"] = _named(drift_panels(drawn.drifts), groups)
    if "features" in parts:
        found: dict[str, list[Arrays]] = {}
        for group in groups:
            found[group.label] = [_kept_features(selection, run) for run in group.runs]
        drawn.figures["features"] = _named(feature_panels(found), groups)
        if all(_have_clients(runs) for runs in found.values()):
            of_clients = feature_panels(found, clients=True)
            drawn.figures["features-clients"] = _named(of_clients, groups)
    return drawn


def _kept_features(selection: Selection, run: Run) -> Arrays:
    """The features of a run, which are kept beside it too."""
    found = selection.features(run)
    keep_features(run, found, {"on": selection.on, "samples": selection.samples})
    return found


def _named(panels: Sequence[Panel], groups: Sequence[Group]) -> list[Panel]:
    """The panels with the names of the runs, which a page shows where the pointer is."""
    names = {}
    for group in groups:
        names[group.label] = [run_name(run) for run in group.runs]
    named = []
    for panel in panels:
        traces = [replace(trace, runs=names[trace.label]) for trace in panel.traces]
        named.append(replace(panel, traces=traces))
    return named


def save_drawn(drawn: Drawn, folder: Path, suffixes: Sequence[str]) -> None:
    """Write each figure with each suffix, and the clients' cosines as pictures. Raises OSError.

    Panels by round are left out of pictures and pages where they have one round only.
    """
    for suffix in suffixes:
        for name, panels in drawn.figures.items():
            shown = panels if suffix == "csv" else _with_courses(panels)
            save(folder / f"{name}.{suffix}", shown)
        if drawn.drifts and suffix in PICTURES:
            save_cosines(folder / f"cosines.{suffix}", drawn.drifts, drawn.seeds)


def _with_courses(panels: Sequence[Panel]) -> list[Panel]:
    """The panels without those by round that are of one round."""
    shown = []
    for panel in panels:
        if panel.x_title != "round" or any(len(trace.x) > 1 for trace in panel.traces):
            shown.append(panel)
    return shown


def _have_clients(runs: Sequence[Arrays]) -> bool:
    return all((features["client"] != GLOBAL).any() for features in runs)
