"""Gradients that algorithms make for a client's round, from the one that the config chose."""

from __future__ import annotations

from collections.abc import Hashable

from torch import Tensor

from mpifl.training.gradients import Gradient, MinibatchGradient, Oracle, kind_of


class Scaled(Oracle):
    """A gradient times a number."""

    def __init__(self, gradient: Gradient, factor: float) -> None:
        self._gradient = gradient
        self._factor = factor

    @property
    def kind(self) -> Hashable:
        chosen = kind_of(self._gradient)
        return None if chosen is None else (Scaled, chosen, self._factor)

    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        return self._gradient(minibatch, w) * self._factor


class Shifted(Oracle):
    """A gradient at weights that are moved by a vector [d], the same in all steps of a round."""

    def __init__(self, gradient: Gradient, shift: Tensor) -> None:
        self._gradient = gradient
        self.vectors = (shift,)

    @property
    def kind(self) -> Hashable:
        chosen = kind_of(self._gradient)
        return None if chosen is None else (Shifted, chosen)

    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        (shift,) = self.vectors
        return self._gradient(minibatch, w + shift)
