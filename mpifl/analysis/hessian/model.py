"""A stored model whose curvature is measured, on this rank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mpifl.curvature import Curvature, Objective
from mpifl.store.measurements import Finding

Vectors = dict[str, np.ndarray]
"""long vectors that go with a finding: [d] or [k, d]"""

Found = tuple[Finding, Vectors]


@dataclass(eq=False)
class MeasuredModel(ABC):
    """Weights, the objective at them, and a seed of the model's own.

    So random probes of two models are independent.
    """

    w: Tensor
    """[d]"""
    seed: int
    objective: Callable[[str], Objective]
    """makes the objective for a purpose, for which fresh batches are drawn"""
    on_products: Callable[[int], None]
    """called with the number of products after each block of them"""

    @abstractmethod
    def timed(self) -> Curvature:
        """The Hessian whose product is timed to estimate the cost."""

    def counted(self, operator: Curvature) -> Curvature:
        """The operator, which now reports its products."""
        operator.watch = self.on_products
        return operator
