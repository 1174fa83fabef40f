"""Figures: panels of curves, drawn by matplotlib (files for papers) or plotly (pages)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from mpifl.options import BadInput

_LIBRARIES = {"html": "plotly", "png": "matplotlib", "pdf": "matplotlib", "svg": "matplotlib"}
"""what draws a file, by its suffix"""


def check_installed(suffixes: Iterable[str]) -> None:
    """Raise BadInput, which says what to install, where a library that draws is missing.

    `suffixes`: of the files to write, without dots; .csv needs no library.
    """
    needed: dict[str, list[str]] = {}
    for suffix in suffixes:
        library = _LIBRARIES.get(suffix, "")
        if library and not _is_installed(library):
            needed.setdefault(library, []).append(f".{suffix}")
    if needed:
        files = " and ".join(suffix for missing in needed.values() for suffix in missing)
        raise BadInput(
            f"figures: expected {' and '.join(sorted(needed))}, to draw {files}; it is not "
            f"installed; `pip install {' '.join(sorted(needed))}`, or write .csv"
        )


def _is_installed(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True
