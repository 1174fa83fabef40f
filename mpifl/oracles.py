"""Oracles: which gradient a local step takes. `oracle(gradient, w) -> gradient to use`.

`gradient(w)` may be asked more than once: for the same batch with the same random draws; BatchNorm's running statistics
move on the first call only. What it returns is overwritten by the next call.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mpifl.settings import options

Gradient = Callable[[Tensor], Tensor]


@options
class Plain:
    """The gradient at the current weights: stochastic gradient descent."""

    def __call__(self, gradient: Gradient, w: Tensor) -> Tensor:
        return gradient(w)


ORACLES = {"plain": Plain}
