"""The stored models: the loss around them, to turn by hand, and what they make of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from mpifl.analysis.clients.panels import Arrays, feature_panels
from mpifl.analysis.clients.stored import features_of, has_features
from mpifl.analysis.figures import check_installed
from mpifl.analysis.figures.plotly_theme import escaped
from mpifl.analysis.landscape.panels import LossScale, is_plane, loss_scales, title_of_panel
from mpifl.analysis.landscape.plotly_figures import page_figure
from mpifl.analysis.landscape.stored import has_landscapes, landscapes_of
from mpifl.analysis.landscape.values import Landscape
from mpifl.analysis.report import blocks, figures
from mpifl.analysis.report.blocks import Section
from mpifl.analysis.report.compared import Compared
from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.store.measurements import Findings
from mpifl.terminal import say

_MOST_NAMED = 3
"""directions in a title"""
Kept = TypeVar("Kept")

_MOST_RUNS = 4
"""runs whose landscapes are drawn, so that no browser runs out of 3D contexts"""
_PLANE = (
    "The loss around the model, which lies at the diamond: drag it, or focus it and press the "
    "arrow keys, to turn it; a wide valley is a flat minimum."
)
_LINES = (
    "Loss and accuracy on straight lines through the model: the wider the valley, the flatter "
    "the minimum in that direction."
)
_FEATURES = {
    "activations": (
        "Activations by layer",
        "The mean square of each layer's activations, which MAN keeps small.",
    ),
    "singular": (
        "Singular values of features",
        "Of the covariance of the classifier's input: a line that falls early means that features "
        "collapse into few directions.",
    ),
    "effective": (
        "Effective rank of features",
        "In how many directions features spread: higher is less collapse.",
    ),
    "norm": (
        "Norm of features",
        "The mean length of the classifier's input, by round.",
    ),
}


def landscape(compared: Compared) -> Section:
    """The landscapes of the first runs that have any."""
    section = Section("landscape", "Landscape of the loss")
    found: list[tuple[str, Sequence[Landscape]]] = []
    runs = 0
    for group in compared.groups:
        for run in group.runs:
            if runs < _MOST_RUNS and _has(compared, run, has_landscapes):
                name = f"{group.label}, seed {run.seed}"
                panels = _read(landscapes_of, compared.findings[run.run_id]) or []
                found += [(name, panel) for panel in panels]
                runs += 1
    if found and _can_draw():
        scales = loss_scales([panel for _, panel in found])
        drawn = [_landscape_chart(panel, name, scales) for name, panel in found]
        section.parts = [blocks.charts(drawn)]
    return section


def _can_draw() -> bool:
    """Whether matplotlib is there, which chooses round numbers for the scale of a plane."""
    try:
        check_installed(["png"])
    except BadInput as problem:
        say(f"mpifl: {problem}; the report leaves landscapes out", error=True)
        return False
    return True


def features(compared: Compared) -> Section:
    """Panels of activations and features of the global models."""
    section = Section("features", "Features and activations")
    groups = compared.parts_where(lambda run: _has(compared, run, has_features))
    found: dict[str, Sequence[Arrays]] = {}
    for group in groups:
        of_runs = [_read(features_of, compared.findings[run.run_id]) for run in group.runs]
        known = [arrays for arrays in of_runs if arrays is not None]
        if len(known) == len(group):
            found[group.label] = known
    drawn = []
    for panel in _feature_panels(found):
        words = _FEATURES.get(panel.y_title.split()[0])
        has_many = len(panel.traces[0].x) > 1
        if words is not None and has_many and "mean" not in panel.y_title:
            title, caption = words
            drawn.append(compared.charted(panel, f"{title}, {panel.title}", caption))
    if drawn:
        head = compared.legend(groups) + compared.note_of_parts(groups)
        section.parts = [head, _ranks(found), blocks.charts(drawn)]
    return section


def _has(compared: Compared, run: Run, what: Callable[[Findings], bool]) -> bool:
    findings = compared.findings.get(run.run_id)
    return findings is not None and what(findings)


def _read(read: Callable[[Findings], Kept], findings: Findings) -> Kept | None:
    """What was kept; None, told in a line, where it is not whole."""
    try:
        return read(findings)
    except BadInput as problem:
        say(f"mpifl: {problem}; the report leaves them out", error=True)
        return None


def _landscape_chart(panel: Sequence[Landscape], name: str, scales: Mapping[str, LossScale]) -> str:
    """The chart of a panel; planes of one kind share their scale of the loss."""
    made = page_figure(panel, titled=False, scales=scales)
    if is_plane(panel):
        axes = panel[0].axes
        for name_of_axis, key in zip(axes, ("xaxis", "yaxis"), strict=True):
            short = escaped(name_of_axis.partition(" (")[0])  # a long name would be cut off
            made["layout"]["scene"][key]["title"]["text"] = short
    else:
        axes = tuple(line.axes[0] for line in panel)
    named = ", ".join(axes) if len(axes) <= _MOST_NAMED else f"{len(axes)} lines"
    title = f"{name}, {title_of_panel(panel) or 'models'}: {named}"
    return blocks.chart(figures.slim(made), title, _PLANE if is_plane(panel) else _LINES)


def _feature_panels(found: dict[str, Sequence[Arrays]]) -> Sequence:
    if not found:
        return []
    try:
        return feature_panels(found)
    except BadInput:  # the runs share no round
        return []


def _ranks(found: dict[str, Sequence[Arrays]]) -> str:
    """A table of the last effective rank and norm of each method."""
    rows = []
    for label, runs in found.items():
        rank = [_last(run, "effective_rank") for run in runs]
        norm = [_last(run, "feature_norm") for run in runs]
        rows.append([label, str(len(runs)), f"{np.mean(rank):.4g}", f"{np.mean(norm):.4g}"])
    caption = "Features of the last global model on test images, the mean over runs."
    return blocks.table(("method", "runs", "effective rank", "norm"), rows, caption)


def _last(run: Arrays, name: str) -> float:
    """Of the last global model."""
    places = np.flatnonzero(run["client"] < 0)
    return float(run[name][places[run["round"][places].argmax()]])
