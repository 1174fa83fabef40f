"""Step: all that a loss may look at for one minibatch, with one forward pass that all its terms share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from mpifl import seeds
from mpifl.models.output import Output
from mpifl.vector import Net


@dataclass(frozen=True)
class ClientRound:
    """What stays the same over one client's round."""

    seed: int
    client: int
    round: int
    classes: int
    counts: np.ndarray
    """int64 [classes]: the client's own training samples of each class"""
    sent: Tensor
    """[d]: the weights that the client was sent"""
    previous: Tensor | None = None
    """[d]: the client's own weights at the end of its last round, or None before its first"""


@dataclass
class Step:
    """One minibatch of one client."""

    net: Net
    x: Tensor
    y: Tensor
    context: ClientRound
    number: int
    """counts the client's steps of this round from 0"""

    @cached_property
    def out(self) -> Output:
        """The forward pass of `x`: made once, when first asked for."""
        return self.net(self.x)

    def random(self, purpose: str) -> np.random.Generator:
        """The stream for `purpose` at this step: the same draws however often, and in whatever order, it is asked for.

        So the two gradients of a sharpness-aware step see the same draws, and no term moves another's.
        """
        c = self.context
        return seeds.generator(c.seed, purpose, c.client, c.round, self.number)
