"""FedSpeed (Sun et al. 2023, algorithm 1): FedDyn's dual, with gradients from a perturbed point.

    y <- y - lr ((1 - mix) g(y) + mix g(y + rho g(y)) - ghat_c + (y - w)/lambda)
    ghat_c <- ghat_c - (y - w)/lambda

With alpha = 1/lambda and the dual l_c = -lambda ghat_c this is FedDyn with the `blend` gradient.
The server too is FedDyn's, as in the authors' code. The paper's server averages y_c + l_c over the
cohort, which does not converge if some clients do not take part.

MAN (Yashwanth et al. 2024) made its tables for FedSpeed with code that never clears a gradient:
from a client's second step on it perturbs along g(y) plus what the step before left there, that is
its clipped gradient with the linear term. `stale_ascent` does the same.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

import torch
from torch import Tensor

from mpifl.algorithms.feddyn import FedDyn
from mpifl.options import BadInput, Fraction, NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train, TrainWith
from mpifl.training.gradients import Blend, Gradient, MinibatchGradient, Oracle, Plain, over_norm
from mpifl.training.messages import Vectors


class _Stale(Oracle):
    """The perturbed gradient of one client's round; `left` [d] is what the last step left."""

    replaced = 1

    def __init__(self, rho: float, left: Tensor) -> None:
        self.vectors = (left,)
        self._rho = rho

    @property
    def kind(self) -> Hashable:
        return _Stale, self._rho

    def __call__(self, minibatch: MinibatchGradient, w: Tensor) -> Tensor:
        (left,) = self.vectors
        direction = minibatch(w) + left
        return minibatch(w + direction * over_norm(self._rho, direction))

    def clipped(self, g: Tensor) -> None:
        self.vectors = (g.clone(),)


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

    stale_ascent: bool = False
    """perturb along the sum of this step's gradient and the last step's, as MAN's code does; then
    mix is 1, normalise is true, and `local.clip_pull` should be false
    """

    def __post_init__(self) -> None:
        if self.stale_ascent and (self.mix != 1 or not self.normalise):
            raise BadInput(
                "algorithm.stale_ascent: expected mix = 1 and normalise = true with it; got "
                f"mix = {self.mix}, normalise = {str(self.normalise).lower()}"
            )

    @property
    def gradient(self) -> Gradient:
        if self.stale_ascent:
            return Plain()
        return Blend(rho=self.rho, mix=self.mix, normalise=self.normalise)

    def _dyn(self) -> FedDyn:
        return FedDyn(alpha=self.alpha)

    def init_server(self, w: Tensor) -> Vectors:
        return self._dyn().init_server(w) if self.duals == "all" else {}

    def init_client(self, w: Tensor) -> Vectors:
        return self._dyn().init_client(w)

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        if self.stale_ascent and self.rho:
            train = TrainWith(train, _Stale(self.rho, torch.zeros_like(sent["w"])))
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
