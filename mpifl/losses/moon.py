"""MOON (Li et al. 2021, eq. 3): a contrastive loss between models.

It draws the projection towards the sent model's and away from the client's previous one.

    mu mean_i log(1 + exp((cos(z, z_prev) - cos(z, z_sent)) / tau))

z, z_sent, z_prev are projections of the same images: by the model in training, by the model that
was sent, and by the client's own model of its last round. The latter two are frozen and in
evaluation mode. In a client's first round there is no previous model, and the term is the constant
mu log 2.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step
from mpifl.net import Weights
from mpifl.options import NonNegative, Positive, options


@options
class Moon(Loss):
    """Needs a model with a projection head (`model.projection = 256`)."""

    mu: NonNegative = 1.0
    """strength"""
    tau: Positive = 0.5
    """temperature"""

    needs: ClassVar[frozenset[str]] = frozenset({"projection", "previous"})
    regulariser: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        if self.mu == 0:
            return step.x.new_zeros(())
        if step.context.previous is None:
            return step.x.new_tensor(self.mu * math.log(2))
        sent = self._similarity(step, "sent", step.context.sent)
        previous = self._similarity(step, "previous", step.context.previous)
        return self.mu * functional.softplus((previous - sent) / self.tau).mean()

    def _similarity(self, step: Step, name: str, model: Weights) -> Tensor:
        """cos(z, z of `model`) of each sample [B]; the net keeps the frozen model under `name`."""
        frozen = step.net.twin(name, model)
        with torch.no_grad():
            z = frozen(step.x, **step.frozen).features
        return functional.cosine_similarity(step.out.features, z, dim=-1)
