"""FedDyn (Acar et al. 2021, algorithm 1): a dynamic regulariser aligns local and global optima.

In accumulated form, with the client's dual l_c = -g_c / alpha and the server's h_bar = -h / alpha:

    y_c ~ argmin f_c(y) + alpha <l_c, y> + (alpha/2)||y - w||^2;   l_c <- l_c + y_c - w
    h_bar <- h_bar + sum_S p_c (y_c - w);   w <- mean_S y_c + h_bar

h_bar is the weighted mean of l_c over all clients, also those outside the cohort.

With momentum of earlier rounds (`momentum_state = "persist"`), y_c - w has a part that the client's
gradients of this round did not make. As a part of the dual it would be counted again in each round,
and the run could diverge: it is taken out of the duals, but not out of the mean of y_c.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.local import Trained
from mpifl.training.messages import Vectors


def own_change(w: Tensor, trained: Trained) -> Tensor:
    """y - w, without the part that momentum of earlier rounds made."""
    if trained.carried is None:
        return trained.y - w
    return trained.y - w + trained.lr * trained.carried


def reply_of(w: Tensor, trained: Trained) -> Vectors:
    """The trained weights; with momentum of earlier rounds also the `change` for the dual."""
    if trained.carried is None:
        return {"w": trained.y}
    return {"w": trained.y, "change": own_change(w, trained)}


def mean_change(w: Tensor, mean: Vectors) -> Tensor:
    """The cohort's mean change for the dual, from the mean of `reply_of`."""
    return mean["change"] if "change" in mean else mean["w"] - w


@options
class FedDyn(Algorithm):
    """alpha = 0 is FedAvg."""

    alpha: NonNegative = 0.01
    """strength of the regulariser"""
    quadratic: bool = True
    """whether the objective has the term (alpha/2)||y - w||^2; FedGMT's has not"""

    def init_server(self, w: Tensor) -> Vectors:
        return {"dual": torch.zeros_like(w)}

    def init_client(self, w: Tensor) -> Vectors:
        return {"dual": torch.zeros_like(w)}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w, dual = sent["w"], own["dual"]
        pull = self.alpha if self.quadratic else 0.0
        trained = train(w, linear=self.alpha * dual, pull=pull)
        return reply_of(w, trained), {"dual": dual + own_change(w, trained)}

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        if self.alpha == 0:
            return mean["w"], server
        dual = server["dual"] + of.share * mean_change(w, mean)
        return mean["w"] + dual, {"dual": dual}
