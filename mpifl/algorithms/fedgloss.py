"""FedGloSS (Caldarola et al. 2025, algorithm 1): sharpness-aware on the server, FedDyn between.

    sent: z = w + rho u(G), u(v) = v/||v||;   clients: FedDyn around z, with strength alpha = 1/beta
    h <- h + sum_S p_c (y_c - z);   G <- z - mean_S y_c;   w <- mean_S y_c - (z - w) + h

The clients' own sharpness-aware step is `local.gradient = "sam"` (the paper's rho_l). In the
authors' code the duals' mean h moves by that much divided by the number of clients of the round:
`duals = "code"`. Its warm-up of rho is a mistake and not offered; here rho rises linearly. With
several local epochs it moves dual and centre after each one, which is not offered either; the
authors' runs have one epoch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mpifl.algorithms.feddyn import FedDyn
from mpifl.options import NonNegative, NonNegativeInt, Positive, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.gradients import over_norm
from mpifl.training.messages import Vectors

_FIRST_RADIUS = 1e-3


@options
class FedGloss(Algorithm):
    """rho = 0 is FedDyn with alpha = 1/beta."""

    rho: NonNegative = 0.15
    """length of the server's perturbation"""
    beta: Positive = 10.0
    """the inverse of the regulariser's strength"""
    warmup: NonNegativeInt = 0
    """rounds in which the length rises from 0.001 to rho"""
    duals: Literal["all", "code"] = "all"
    """how much of a round's change enters the duals' mean: the cohort's part of all clients'
    weight, or (code) that divided by the number of the cohort's clients
    """

    def _dyn(self) -> FedDyn:
        return FedDyn(alpha=1 / self.beta)

    def init_server(self, w: Tensor) -> Vectors:
        return self._dyn().init_server(w) | {"perturbation": torch.zeros_like(w)}

    def init_client(self, w: Tensor) -> Vectors:
        return self._dyn().init_client(w)

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": self._ahead(w, server)}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return self._dyn().client(sent, own, train)

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        start = self._ahead(w, server)
        if self.duals == "code":
            of = of._replace(share=of.share / of.replies)
        after, kept = self._dyn().server(start, server, mean, of)
        if not self.rho:
            return after, {**server, **kept}
        gradient = start - mean["w"]
        perturbation = gradient * over_norm(self._radius(of.round + 1), gradient)
        return after - (start - w), {**kept, "perturbation": perturbation}

    def _ahead(self, w: Tensor, server: Vectors) -> Tensor:
        return w + server["perturbation"] if self.rho else w

    def _radius(self, round: int) -> float:
        """The length of the perturbation that is sent in a round."""
        if round > self.warmup:
            return self.rho
        return _FIRST_RADIUS + (self.rho - _FIRST_RADIUS) * round / self.warmup
