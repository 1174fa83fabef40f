"""Panels as one HTML page that needs nothing else: hover for numbers, drag to zoom, click a name to hide its traces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mpifl.study.drawing import COLOURS
from mpifl.study.panels import Band, Panel, Trace

_TEMPLATE = Path(__file__).with_name("page.html")


def page(panels: Sequence[Panel], title: str, band: Band = "std") -> str:
    """The page's text. It fetches nothing: it can be sent, kept, and opened offline."""
    drawn = json.dumps([_panel(panel, band) for panel in panels], allow_nan=False, ensure_ascii=False)
    inside = drawn.replace("</", "<\\/")  # a label must not end the script
    return _TEMPLATE.read_text(encoding="utf-8").replace("{{title}}", escape(title)).replace("{{panels}}", inside)


def _panel(panel: Panel, band: Band) -> dict[str, Any]:
    return {
        "title": panel.title,
        "x": panel.x_title,
        "y": panel.y_title,
        "log": panel.log,
        "zero": panel.from_zero,
        "names": list(panel.names),
        "marks": [None if mark is None else float(mark) for mark in panel.marks],
        "traces": [_trace(panel, trace, number, band) for number, trace in enumerate(panel.traces)],
    }


def _trace(panel: Panel, trace: Trace, number: int, band: Band) -> dict[str, Any]:
    ends = panel.band(trace, band)
    return {
        "label": trace.label,
        "colour": COLOURS[number % len(COLOURS)],
        "x": _numbers(trace.x),
        "mean": _numbers(trace.mean),
        "std": _numbers(trace.std),
        "low": None if ends is None else _numbers(ends[0]),
        "high": None if ends is None else _numbers(ends[1]),
        "runs": [_numbers(values) for values in trace.values],
    }


def _numbers(values: np.ndarray) -> list[float | None]:
    """With six significant digits, and null for what is no number."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]
