"""Curves drawn with characters, for a terminal."""

from __future__ import annotations

import numpy as np

_PLAIN_FRAME = str.maketrans("┌┐└┘├┤┬┴┼│─", "+++++++++|-")
_BARS = "▁▂▃▄▅▆▇█"


def plot(
    rounds: np.ndarray,
    values: np.ndarray,
    title: str,
    width: int,
    height: int,
    encoding: str = "utf-8",
) -> str:
    """`values` by round, in `height` lines of `width` characters that the encoding has."""
    import plotext  # type: ignore[import-untyped]  # takes 0.2 s

    unicode = _is_unicode(encoding)
    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    figure.draw(
        figure.signal(rounds.tolist(), values.tolist(), marker="braille" if unicode else "*").lines(
            True
        )
    )
    figure.title(title)
    figure.label("round")
    ticks = np.unique(
        np.linspace(rounds[0], rounds[-1], max(2, width // 12)).round().astype(int)
    ).tolist()
    figure.ruler("x").ticks(ticks, [str(tick) for tick in ticks])
    if np.ptp(values) == 0:  # else the axis would be wider than what an accuracy can be
        figure.ruler("y").lim(0, 1)
    drawn = figure.build().string(colorless=True).rstrip()
    return drawn if unicode else drawn.translate(_PLAIN_FRAME)


def sparkline(values: np.ndarray, width: int, encoding: str = "utf-8") -> str:
    """The course of an accuracy in one line, from 0 to 1; "" where the encoding has no bars.

    >>> sparkline(np.array([0.0, 0.2, 0.5, 1.0]), width=4)
    '▁▂▅█'
    """
    if not _is_unicode(encoding) or not len(values):
        return ""
    places = np.linspace(0, len(values) - 1, min(width, len(values))).round().astype(int)
    heights = (np.clip(values[places], 0, 1) * (len(_BARS) - 1)).round().astype(int)
    return "".join(_BARS[height] for height in heights)


def _is_unicode(encoding: str) -> bool:
    return encoding.lower().startswith("utf")
