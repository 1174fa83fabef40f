"""Landscapes in a run's hessian.h5: kept by `mpifl landscape`, read by `mpifl report`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpifl.analysis.kept import keep
from mpifl.analysis.landscape.values import Landscape
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Facts, Finding, Findings

MEASUREMENT = "landscape"


def keep_landscapes(
    run: Run, round: int, panels: Sequence[Sequence[Landscape]], settings: Facts
) -> None:
    """Keep the panels of landscapes around a model of `round`, in place of those before."""
    found = {}
    for number, panel in enumerate(panels):
        for place, landscape in enumerate(panel):
            found[f"round_{round:06d}/models/{number:03d}_{place:03d}"] = _finding(landscape)
    keep(run, MEASUREMENT, settings, found)


def has_landscapes(findings: Findings) -> bool:
    """Whether any were kept."""
    return bool(findings.under(MEASUREMENT))


def landscapes_of(findings: Findings) -> list[list[Landscape]]:
    """The panels that were kept, in order. Raises BadInput if something in them is missing."""
    try:
        return _panels(findings)
    except (KeyError, ValueError) as problem:
        raise BadInput(
            f"{findings.file}: expected landscapes as `mpifl landscape` keeps them; got {problem}; "
            "measure them again"
        ) from problem


def _panels(findings: Findings) -> list[list[Landscape]]:
    panels: dict[str, list[Landscape]] = {}
    for path, finding in sorted(findings.under(MEASUREMENT).items()):
        number = path.rpartition("/")[2].partition("_")[0]
        panels.setdefault(number, []).append(_landscape(finding))
    return list(panels.values())


def _finding(landscape: Landscape) -> Finding:
    arrays = {
        "loss": landscape.loss,
        "accuracy": landscape.accuracy,
        "axes": np.array(landscape.axes, object),
        "marks": np.array(list(landscape.marks), object),
        "places": np.array(list(landscape.marks.values()), "f8"),
    }
    for axis, coordinates in enumerate(landscape.coordinates):
        arrays[f"coordinates_{axis}"] = coordinates
    facts = {"title": landscape.title, "kind": landscape.kind, "scale": landscape.scale}
    return Finding(arrays, facts)


def _landscape(finding: Finding) -> Landscape:
    axes = tuple(str(name) for name in finding["axes"])
    marks = {}
    for name, place in zip(finding["marks"], finding["places"].tolist(), strict=True):
        marks[str(name)] = tuple(place)
    coordinates = tuple(finding[f"coordinates_{axis}"] for axis in range(len(axes)))
    known = finding.facts
    return Landscape(
        str(known["title"]),
        axes,
        coordinates,
        finding["loss"],
        finding["accuracy"],
        marks,
        str(known["kind"]),
        str(known["scale"]),
    )
