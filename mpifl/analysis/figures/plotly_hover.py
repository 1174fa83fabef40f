"""What is read at a point of a panel: its group, quantity, value with spread, place and run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mpifl.analysis.figures.panels import Band, Panel, Trace
from mpifl.analysis.figures.plotly_theme import escaped, written


def hover(panel: Panel, trace: Trace, texts: Sequence[str], of: str) -> dict[str, Any]:
    """What is read at each point: group, quantity and value, place, and `of` which runs it is.

    `texts`: the values with their spread. Lines are short enough for a narrow screen.
    """
    value = f"{escaped(panel.y_name)} %{{text}} {panel.y_unit}".rstrip()
    lines = [f"<b>{literal(escaped(trace.label))}</b>", value, _place(panel), literal(of)]
    found: dict[str, Any] = {
        "text": list(texts),
        "hovertemplate": "<br>".join(lines) + "<extra></extra>",
    }
    if panel.names:
        found["customdata"] = [escaped(name) for name in panel.names]
    return found


def _place(panel: Panel) -> str:
    """Where a point is, as a template: the name of what is along x, or its number."""
    if panel.names:
        return "%{customdata}"
    form = "d" if panel.whole else ",.4~r"
    return f"{escaped(panel.x_name)} %{{x:{form}}} {panel.x_unit}".rstrip()


def literal(text: str) -> str:
    """Text in a template, where `%{` would begin a variable."""
    return text.replace("%{", "% {")


def texts_of_run(trace: Trace, run: int) -> list[str]:
    """Each value of a run, with its error where that is known."""
    texts = [written(value) for value in trace.values[run].tolist()]
    if trace.texts:
        return [f"{text} ({what})" for text, what in zip(texts, trace.texts[run], strict=True)]
    if not len(trace.errors):
        return texts
    with_errors = []
    for text, error in zip(texts, trace.errors[run].tolist(), strict=True):
        with_errors.append(f"{text} ± {error:.2g}" if math.isfinite(error) else text)
    return with_errors


def texts_of_mean(trace: Trace, band: Band) -> list[str]:
    """Each mean of several runs, with the spread that the band shows."""
    means = trace.mean
    texts = [written(value) for value in means.tolist()]
    ends = trace.band(band)
    if ends is None:
        return texts
    low, high = ends
    if band == "range":
        spreads = [f"({written(a)} to {written(b)})" for a, b in zip(low, high, strict=True)]
    else:
        spreads = [f"± {half:.2g}" for half in (means - low).tolist()]
    return [f"{text} {spread}" for text, spread in zip(texts, spreads, strict=True)]
