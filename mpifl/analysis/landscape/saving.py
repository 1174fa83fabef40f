"""Landscapes as files: a picture, a page, and the numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mpifl.analysis.figures.matplotlib_figures import rendered
from mpifl.analysis.files import write
from mpifl.analysis.landscape.matplotlib_figures import figure
from mpifl.analysis.landscape.plotly_figures import page
from mpifl.analysis.landscape.values import Landscape
from mpifl.options import BadInput


def save(
    panels: Sequence[Sequence[Landscape]], out: Path, title: str, titled: bool = False
) -> None:
    """Write OUT.png, OUT.html and OUT.npz. Raises BadInput where they cannot be written.

    `out` may end in one of these suffixes itself. The `title` stands in place of the panels' own
    titles, unless these are `titled`.
    """
    files: dict[str, bytes | memoryview] = {
        "png": rendered(figure(panels, title="" if titled else title), "png"),
        "html": page(panels, title, titled).encode(),
        "npz": _numbers(panels),
    }
    name = out.stem if out.suffix.removeprefix(".") in files else out.name
    try:
        for suffix, content in files.items():
            write(out.with_name(f"{name}.{suffix}"), content)
    except OSError as problem:
        raise BadInput(
            f"{problem.filename}: expected a place to write; got {problem.strerror}"
        ) from problem


def _numbers(panels: Sequence[Sequence[Landscape]]) -> memoryview:
    """All landscapes' arrays, each named by the landscape's number."""
    arrays: dict[str, Any] = {}
    for number, landscape in enumerate(chain.from_iterable(panels)):
        arrays[f"{number}_title"] = landscape.title
        arrays[f"{number}_axes"] = landscape.axes
        arrays[f"{number}_kind"] = landscape.kind
        arrays[f"{number}_scale"] = landscape.scale
        arrays[f"{number}_loss"] = landscape.loss
        arrays[f"{number}_accuracy"] = landscape.accuracy
        for axis, coordinates in enumerate(landscape.coordinates):
            arrays[f"{number}_coordinates_{axis}"] = coordinates
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getbuffer()
