"""What a figure of landscapes shows, before it is drawn: names, scales and contour levels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mpifl.analysis.landscape.values import Landscape

Panel = Sequence[Landscape]
"""lines that share their axes, or one plane"""

_LEVELS = 14
_HIGHEST = 25.0
"""losses above this many times (the least + 1) are drawn as that: the valley is of interest"""


def is_plane(panel: Panel) -> bool:
    """Whether the panel is a plane; else it is lines."""
    return len(panel[0].axes) == 2


def together(panels_of_runs: Sequence[Sequence[Panel]]) -> list[Panel]:
    """The panels of several runs, kind by kind: lines from the models in one panel, planes apart.

    All runs have the same kinds of panels, in the same order.
    """
    merged: list[Panel] = []
    for panels in zip(*panels_of_runs, strict=True):
        if is_plane(panels[0]) or panels[0][0].kind == "clients":
            merged.extend(panels)
        else:
            merged.append([line for panel in panels for line in panel])
    return merged


def name_in_panel(line: Landscape, panel: Panel) -> str:
    """What sets a line apart from the others of its panel: its model, its direction, or both."""
    [axis] = line.axes
    if _shared_axis(panel) == axis:
        return line.title
    return axis if title_of_panel(panel) else f"{line.title}, {axis}"


def short_name(name: str) -> str:
    """A model's name beside its mark: a client's number, or a run's name."""
    return name.rpartition("client ")[2].removeprefix("to ")


def title_of_panel(panel: Panel) -> str:
    """The title that all lines of a panel share; "" where they have several."""
    titles = {line.title for line in panel}
    return titles.pop() if len(titles) == 1 else ""


def x_label(panel: Panel) -> str:
    """The name of the lines' axis, with what stands at 1 where that is a model."""
    ends: list[str] = []
    for line in panel:
        ends.extend(name for name, place in line.marks.items() if place == (1.0,))
    axis = _shared_axis(panel)
    if not ends:
        return axis
    are_clients = all("client " in name for name in ends)
    other = "the client's model" if are_clients else "the other run's model"
    return f"{axis}: 1 = {other}"


def _shared_axis(panel: Panel) -> str:
    """The name of the axis; where the lines' directions differ, only "coordinate"."""
    names = {line.axes[0] for line in panel}
    return names.pop() if len(names) == 1 else "coordinate"


def marked(panel: Panel) -> list[float]:
    """The coordinates at which models lie."""
    found: set[float] = set()
    for line in panel:
        found.update(x for [x] in line.marks.values())
    return sorted(found)


def spans_much(losses: np.ndarray) -> bool:
    """Whether losses are better drawn on a logarithmic axis."""
    return bool(np.nanmax(losses) > 20 * np.nanmin(losses) > 0)


def most_accuracy(panel: Panel) -> float:
    """Where the axis of accuracies ends, in percent."""
    best = 100 * max(float(np.nanmax(line.accuracy)) for line in panel)
    return min(100.0, 1.2 * best + 1)


class LossScale(NamedTuple):
    """The scale of loss of planes: those of one kind share it, so that runs can be compared."""

    highest: float
    """the highest loss that is drawn"""
    levels: np.ndarray
    """of contours and colours"""


def loss_scales(panels: Iterable[Panel]) -> dict[str, LossScale]:
    """The scale of each kind of plane."""
    by_kind: dict[str, list[np.ndarray]] = {}
    for panel in panels:
        if is_plane(panel):
            by_kind.setdefault(panel[0].kind, []).append(panel[0].loss.ravel())
    return {kind: _loss_scale(np.concatenate(losses)) for kind, losses in by_kind.items()}


def _loss_scale(loss: np.ndarray) -> LossScale:
    highest = ceiling(loss)
    return LossScale(highest, contour_levels(drawn_loss(loss, highest)))


def drawn_loss(loss: np.ndarray, highest: float) -> np.ndarray:
    """The loss as it is drawn: at most `highest`, also where it is not finite."""
    return np.clip(np.nan_to_num(loss, nan=np.inf), None, highest)


def ceiling(loss: np.ndarray) -> float:
    """The highest loss that is drawn."""
    finite = loss[np.isfinite(loss)]
    return float(min(finite.max(), _HIGHEST * (finite.min() + 1)))


def contour_levels(loss: np.ndarray) -> np.ndarray:
    """The contours' levels: evenly spaced, in the logarithm where the loss spans a factor of 3."""
    low = float(loss.min())
    high = float(loss.max())
    if high - low < 1e-12:
        return np.array([low - 1e-6, low + 1e-6])
    if low > 0 and high > 3 * low:
        return np.geomspace(low, high * (1 + 1e-9), _LEVELS)
    return np.linspace(low, high + 1e-9 * abs(high), _LEVELS)


def is_logarithmic(levels: np.ndarray) -> bool:
    """Whether the levels are evenly spaced in the logarithm."""
    return len(levels) == _LEVELS and not np.allclose(np.diff(levels, 2), 0)


def round_ticks(levels: np.ndarray) -> np.ndarray:
    """Round numbers within the levels, for the bar of colours."""
    from matplotlib.ticker import LogLocator, MaxNLocator  # takes half a second

    low = levels[0]
    high = levels[-1]
    if low > 0 and high > 10 * low:
        ticks = LogLocator(subs=(1, 2, 5)).tick_values(low, high)
    else:
        ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
    return ticks[(ticks >= low) & (ticks <= high)]
