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
        expected = " and ".join(_LIBRARIES)
        got = " and ".join(missing)
        raise BadInput(
            f"figures: expected {expected}; got no {got}; `pip install 'mpifl[analysis]'`"
        )
