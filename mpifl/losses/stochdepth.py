"""Stochastic depth (Huang et al. 2016, section 3): training skips residual blocks at random.

Block l of L survives a minibatch with probability rho_l = 1 - (l - 1)/(L - 1) (1 - keep), as
FedAlign's code has it: the first block always, the last with `keep`. In evaluation its branch is
scaled by rho_l.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from mpifl.losses.loss import Wrapper
from mpifl.losses.step import Step
from mpifl.models.network import Network
from mpifl.options import Share, options


@options
class StochDepth(Wrapper):
    """keep = 1 leaves the loss as it is."""

    keep: Share = 0.9
    """probability that the last block survives"""
    ramp: Literal["code", "paper"] = "code"
    """rho_l falls by (l - 1)/(L - 1) (code) or by l/L (paper: the first block is skipped too)"""

    own_needs: ClassVar[frozenset[str]] = frozenset({"gates"})

    @property
    def varies(self) -> bool:
        return self.keep < 1 or self.loss.varies

    def __call__(self, step: Step) -> Tensor:
        if self.keep == 1:
            return self.loss(step)
        survival = self.survival(step.net.module.blocks)
        gates = (step.random("stochdepth").random(len(survival)) < survival).astype(float)
        return self.loss(step.derived(forward={**step.forward, "gates": gates.tolist()}))

    def evaluated(self, network: Network) -> dict[str, Any]:
        options = self.loss.evaluated(network)
        if self.keep == 1:
            return options
        return {**options, "gates": self.survival(network.blocks).tolist()}

    def survival(self, blocks: int) -> np.ndarray:
        """rho_l of each block, float64 [blocks]."""
        l = np.arange(blocks)
        fall = l / max(1, blocks - 1) if self.ramp == "code" else (l + 1) / blocks
        return 1 - fall * (1 - self.keep)
