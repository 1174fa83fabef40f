"""Figures: panels of curves, drawn by matplotlib (files for papers) or plotly (pages)."""

from __future__ import annotations

from importlib import import_module

from mpifl.options import BadInput

_LIBRARIES = ("matplotlib", "plotly")


def check_installed() -> None:
    """Raise BadInput, which says what to install, where a library that draws is missing."""
    missing = []
    for name in _LIBRARIES:
        try:
            import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        names = " and ".join(missing)
        verb = "is" if len(missing) == 1 else "are"
        raise BadInput(
            f"figures: {names} {verb} not installed; install by `pip install 'mpifl[analysis]'`"
        )
