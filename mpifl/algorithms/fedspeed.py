"""FedSpeed (Sun et al. 2023, algorithm 1): FedDyn's dual, with gradients from a perturbed point.

    y <- y - lr ((1 - mix) g(y) + mix g(y + rho g(y)) - ghat_c + (y - w)/lambda)
    ghat_c <- ghat_c - (y - w)/lambda

With alpha = 1/lambda and the dual l_c = -lambda ghat_c this is FedDyn with the `blend` gradient.
The server too is FedDyn's, as in the authors' code. The paper's server averages y_c + l_c over the
cohort, which does not converge if some clients do not take part.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mpifl.algorithms.feddyn import FedDyn
from mpifl.options import Fraction, NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.gradients import Blend
from mpifl.training.messages import Vectors


@options
class FedSpeed(Algorithm):
    """rho = 0 or mix = 0 is FedDyn. It has its own gradient: `local.gradient` must stay plain."""

    alpha: NonNegative = 0.1
    """1 / lambda"""
    rho: NonNegative = 0.1
    """length of the perturbation"""
    mix: Fraction = 1.0
    """the weight of the perturbed gradient (the paper's alpha)"""
    normalise: bool = True
    """perturb by rho g/||g|| (the code) or by rho g (the paper)"""
    duals: Literal["all", "cohort"] = "all"
    """whose duals the server adds to the mean: all clients', or the cohort's only (the paper)"""

    @property
    def gradient(self) -> Blend:
        return Blend(rho=self.rho, mix=self.mix, normalise=self.normalise)

    def _dyn(self) -> FedDyn:
        return FedDyn(alpha=self.alpha)

    def init_server(self, w: Tensor) -> Vectors:
        return self._dyn().init_server(w) if self.duals == "all" else {}

    def init_client(self, w: Tensor) -> Vectors:
        return self._dyn().init_client(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        reply, own = self._dyn().client(sent, own, train)
        if self.duals == "cohort" and self.alpha:
            reply = {"w": reply["w"] + own["dual"]}
        return reply, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        if self.duals == "cohort":
            return mean["w"], server
        return self._dyn().server(w, server, mean, of)
