"""MOON (Li et al. 2021, eq. 3): contrast of models; the projection nears the sent model's, and
leaves the last's.

    mu mean_i log(1 + exp((cos(z, z_prev) - cos(z, z_sent)) / tau))

z, z_sent, z_prev are projections of the same images by the model in training, by the one that was
sent, and by the client's own of its last round; the latter two are frozen, in evaluation mode. In a
client's first round there is no last model, and the term is its constant mu log 2.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.options import NonNegative, Positive, options


@options
class Moon(Loss):
    """Asks for a model with a projection head (`model.projection = 256`)."""

    mu: NonNegative = 1.0
    tau: Positive = 0.5

    needs: ClassVar[frozenset[str]] = frozenset({"projection", "previous"})
    regulariser: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        if self.mu == 0:
            return step.x.new_zeros(())
        if step.context.previous is None:
            return step.x.new_tensor(self.mu * math.log(2))
        sent, previous = (self._likeness(step, name) for name in ("sent", "previous"))
        return self.mu * functional.softplus((previous - sent) / self.tau).mean()

    def _likeness(self, step: Step, name: str) -> Tensor:
        frozen = step.net.twin(name, getattr(step.context, name))
        with torch.no_grad():
            z = frozen(step.x, **step.frozen).features
        return functional.cosine_similarity(step.out.features, z, dim=-1)
