"""MOON (Li et al. 2021, eq. 3): a contrastive loss between models.

It draws the projection towards the sent model's and away from the client's previous one.

    mu mean_i log(1 + exp((cos(z, z_prev) - cos(z, z_sent)) / tau))

z, z_sent, z_prev are projections of the same images: by the model in training, by the model that
was sent, and by the client's own model of its last round. The latter two are frozen and in
evaluation mode.

A client's first round has no previous model. With `first = "initial"` it is then the model with
which the run began, as FedAlign's code means it (where the tensors are those of the server, which
the first average overwrites); in round 1, where that is the sent model, the term is the constant
mu log 2. With `first = "none"` it is this constant in every client's first round, as in mpifl up to
0.1. MOON's own code takes a random model for each client from round 2 on, which is not offered: it
would be a network for each client that no paper describes. With all clients in each round all
three are the same.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mpifl.losses.loss import Loss
from mpifl.losses.step import Step, sent
from mpifl.net import Net
from mpifl.options import NonNegative, Positive, options


@options
class Moon(Loss):
    """Needs a model with a projection head (`model.projection = 256`)."""

    mu: NonNegative = 1.0
    """strength"""
    tau: Positive = 0.5
    """temperature"""
    first: Literal["initial", "none"] = "initial"
    """the previous model in a client's first round: the run's initial one, or none"""

    needs: ClassVar[frozenset[str]] = frozenset({"projection", "previous"})
    regulariser: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        if self.mu == 0:
            return step.x.new_zeros(())
        previous = step.given(self._previous)
        if previous is None:
            return step.x.new_full((), self.mu * math.log(2))
        to_sent = self._similarity(step, step.given(sent))
        to_previous = self._similarity(step, previous)
        return self.mu * functional.softplus((to_previous - to_sent) / self.tau).mean()

    def _previous(self, step: Step) -> Net | None:
        """The model to move away from; None where the term is a constant."""
        context = step.context
        model = context.previous
        if model is None and self.first == "initial" and context.round > 1:
            model = context.initial
        return None if model is None else step.net.twin("previous", model)

    def _similarity(self, step: Step, frozen: Net) -> Tensor:
        """cos(z, z of a `frozen` model) of each sample [B]."""
        with torch.no_grad():
            z = frozen(step.x, **step.frozen).features
        return functional.cosine_similarity(step.out.features, z, dim=-1)
