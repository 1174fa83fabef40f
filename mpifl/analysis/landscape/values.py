"""What a landscape is: loss and accuracy around a model, along a line or in a plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_ROUNDING = 1e-6
"""smaller rises of the loss are rounding errors"""

Marks = Mapping[str, tuple[float, ...]]
"""coordinates of models, by name"""


@dataclass(frozen=True, eq=False)
class Landscape:
    """Loss and accuracy around a model: along one direction [n], or in the plane of two [n, m]."""

    title: str
    axes: tuple[str, ...]
    coordinates: tuple[np.ndarray, ...]
    """of each axis: [n], [m]"""
    loss: np.ndarray
    accuracy: np.ndarray
    marks: Marks
    """models that lie in it"""
    kind: str = ""
    """random, eigen, clients or to: landscapes of one kind, of several runs, are compared"""
    scale: str = ""
    """what a coordinate of 1 is (`Scale`)"""

    @property
    def barrier(self) -> float:
        """Of a line to a model at 1: the greatest rise of the loss above a straight line.

        The straight line is drawn between the two models' losses.
        """
        [at] = self.coordinates
        return barrier_between(at, self.loss)


def barrier_between(at: np.ndarray, loss: np.ndarray) -> float:
    """The greatest rise of a line's loss [n] above the straight line from `at` [n] = 0 to 1.

    It is 0 where the loss does not rise above it. A lower bound: between points it may be higher.

    >>> at = np.linspace(0, 1, 11)
    >>> barrier_between(at, ((2 * at - 1) ** 2 - 1) ** 2)
    1.0
    """
    between = (at >= 0) & (at <= 1)
    first, second = np.interp([0.0, 1.0], at, loss)
    straight = first + at[between] * (second - first)
    return float(max((loss[between] - straight).max(), 0.0))


def barrier_in_words(height: float) -> str:
    """A barrier for people.

    >>> barrier_in_words(0.02345), barrier_in_words(1e-9)
    ('0.0234', 'none')
    """
    return "none" if height < _ROUNDING else f"{height:.3g}"
