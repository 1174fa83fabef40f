"""The proximal term (mu/2)||y - w||^2 of FedProx (Li et al. 2020, eq. 2), for any objective."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.options import NonNegative, options


@options
class Prox(Loss):
    """It acts on the gradient only, by `pull`; it adds nothing to the value that is logged."""

    mu: NonNegative = 1e-4
    """strength"""

    regulariser: ClassVar[bool] = True

    @property
    def pull(self) -> float:
        return self.mu

    def __call__(self, step: Step) -> Tensor:
        return step.x.new_zeros(())
