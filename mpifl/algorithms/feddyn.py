"""FedDyn (Acar et al. 2021, algorithm 1): a dynamic regulariser aligns local and global optima.

In accumulated form, with the client's dual l_c = -g_c / alpha and the server's h_bar = -h / alpha:

    y_c ~ argmin f_c(y) + alpha <l_c, y> + (alpha/2)||y - w||^2;   l_c <- l_c + y_c - w
    h_bar <- h_bar + sum_S p_c (y_c - w);   w <- mean_S y_c + h_bar

h_bar is the weighted mean of l_c over all clients, also those outside the cohort.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedDyn(Algorithm):
    """alpha = 0 is FedAvg."""

    alpha: NonNegative = 0.01
    """strength of the regulariser"""

    def init_server(self, w: Tensor) -> Vectors:
        return {"dual": torch.zeros_like(w)}

    def init_client(self, w: Tensor) -> Vectors:
        return {"dual": torch.zeros_like(w)}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w, dual = sent["w"], own["dual"]
        y = train(w, linear=self.alpha * dual, pull=self.alpha).y
        return {"w": y}, {"dual": dual + (y - w)}

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        if self.alpha == 0:
            return mean["w"], server
        dual = server["dual"] + of.share * (mean["w"] - w)
        return mean["w"] + dual, {"dual": dual}
