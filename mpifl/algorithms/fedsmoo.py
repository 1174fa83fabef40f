"""FedSMOO (Sun et al. 2023): FedDyn whose perturbations agree over clients, too.

Each step, with u(v) = v / ||v||, and then FedDyn's client and server:

    e = rho u(g(y) - mu_c - s);   mu_c <- mu_c + e - s
    y <- y - lr (g(y + e) + alpha (l_c + y - w));   s <- rho u(mean_S mu_c)

mu_c moves at every step, and its mean is over the cohort. As in the authors' code; its comment says
that the paper's s also has the mean of the last perturbations.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from mpifl.algorithms.feddyn import FedDyn
from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train, TrainWith
from mpifl.training.gradients import MinibatchGradient, Oracle, Plain, over_norm
from mpifl.training.messages import Vectors


class _Agreeing(Oracle):
    """The perturbed gradient of one client's round; `multiplier` moves at each step."""

    replaced = 1

    def __init__(self, rho: float, multiplier: Tensor, shared: Tensor) -> None:
        self.vectors = (multiplier, shared)
        self._rho = rho

    @property
    def kind(self) -> Hashable:
        return _Agreeing, self._rho

    @property
    def multiplier(self) -> Tensor:
        """[d]"""
        return self.vectors[0]

    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        multiplier, shared = self.vectors
        direction = minibatch(w) - multiplier - shared
        perturbation = direction * over_norm(self._rho, direction)
        self.vectors = (multiplier + perturbation - shared, shared)
        return minibatch(w + perturbation)


@options
class FedSmoo(Algorithm):
    """rho = 0 is FedDyn. It has its own gradient: `local.gradient` must stay plain."""

    alpha: NonNegative = 0.1
    """strength of the dynamic regulariser"""
    rho: NonNegative = 0.1
    """length of the perturbation"""

    @property
    def gradient(self) -> Plain:
        return Plain()

    def _dyn(self) -> FedDyn:
        return FedDyn(alpha=self.alpha)

    def init_server(self, w: Tensor) -> Vectors:
        return self._dyn().init_server(w) | {"s": torch.zeros_like(w)}

    def init_client(self, w: Tensor) -> Vectors:
        return self._dyn().init_client(w) | {"mu": torch.zeros_like(w)}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": w, "s": server["s"]}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        if self.rho == 0:
            reply, kept = self._dyn().client(sent, own, train)
            return reply | {"mu": own["mu"].clone()}, kept | {"mu": own["mu"]}
        gradient = _Agreeing(self.rho, own["mu"], sent["s"])
        reply, kept = self._dyn().client(sent, own, TrainWith(train, gradient))
        return reply | {"mu": gradient.multiplier.clone()}, kept | {"mu": gradient.multiplier}

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        w, kept = self._dyn().server(w, server, mean, of)
        return w, {**server, **kept, "s": mean["mu"] * over_norm(self.rho, mean["mu"])}
