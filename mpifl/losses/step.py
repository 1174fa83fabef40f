"""Step: all that a loss may look at for one minibatch, with one forward pass that all its terms
share.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from mpifl import seeds
from mpifl.models.output import Output
from mpifl.net import Net


@dataclass(frozen=True)
class ClientRound:
    """What stays the same over one client's round."""

    seed: int
    client: int
    round: int
    classes: int
    counts: np.ndarray
    """int64 [classes]: the client's own training samples of each class"""
    sent: tuple[Tensor, Tensor]
    """weights [d] and buffers [b] that the client was sent"""
    previous: tuple[Tensor, Tensor] | None = None
    """the client's own at the end of its last round; None where no loss asks, and before its first
    """
    rounds: int = 1
    """of the whole run"""


@dataclass
class Step:
    """One minibatch of one client."""

    net: Net
    x: Tensor
    y: Tensor
    context: ClientRound
    number: int
    """counts the client's steps of this round from 0"""
    forward: dict[str, Any] = field(default_factory=dict)
    """options of the forward pass, such as gates"""
    frozen: dict[str, Any] = field(default_factory=dict)
    """likewise, of models in evaluation mode"""
    passes: list[Output] = field(default_factory=list)
    """the forward passes made so far, those of derived steps included"""

    @cached_property
    def out(self) -> Output:
        """The forward pass of `x`: made once, when first asked for."""
        self.passes.append(self.net(self.x, **self.forward))
        return self.passes[-1]

    def derived(self, **changes: Any) -> Step:
        """This step with other images or another forward pass."""
        return replace(self, **changes)

    def relabelled(self, y: Tensor) -> Step:
        """This step with other labels, and the same forward pass."""
        step = replace(self, y=y)
        step.__dict__["out"] = self.out
        return step

    def random(self, purpose: str) -> np.random.Generator:
        """The stream for `purpose` at this step: the same draws however often, and in whatever
        order, it is asked for.

        So the two gradients of a sharpness-aware step see the same draws, and no term moves
        another's.
        """
        c = self.context
        return seeds.generator(c.seed, purpose, c.client, c.round, self.number)
