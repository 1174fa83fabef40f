"""FedACG (Kim et al. 2024): clients start ahead of the server's model, along its momentum.

    z = w + lam m;   y_c ~ argmin f_c(y) + (mu/2)||y - z||^2 from z
    m <- lam m + mean_S y_c - z;   w <- mean_S y_c

The authors' term is 1e-3 ||y - z||^2, so mu is 0.002. With `local.gradient = "sam"` and mu = 0
it is what the released code of FedNSAM runs; the rule of that paper was not to be had.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpifl.algorithms.fedopt import Decay
from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedAcg(Algorithm):
    """lam = 0 is FedProx."""

    lam: Decay = 0.85
    """how much of the momentum clients start ahead, and is kept"""
    mu: NonNegative = 0.002
    """strength of the proximal term"""

    def init_server(self, w: Tensor) -> Vectors:
        return {"m": torch.zeros_like(w)}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": self._ahead(w, server)}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"], pull=self.mu).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        m = self.lam * server["m"] + mean["w"] - self._ahead(w, server)
        return mean["w"], {"m": m}

    def _ahead(self, w: Tensor, server: Vectors) -> Tensor:
        return w + self.lam * server["m"] if self.lam else w
