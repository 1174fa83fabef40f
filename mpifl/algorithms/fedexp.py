"""FedExP (Jhunjhunwala et al. 2023, algorithm 1): a longer step of the server where clients differ.

    D = mean_S y_c - w;   w <- w + lr_g D
    lr_g = max(1, mean_S ||y_c - w||^2 / (2 (||D||^2 + eps)))

Tested is the mean of the last two models, with `evaluation.models = ["average"]`; after the first
round the model itself. As in the authors' code, eps follows the square of the clients' learning
rate; there it is also multiplied by the number of clients of the round.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedExP(Algorithm):
    """cap = 1 is FedAvg."""

    eps: NonNegative = 1e-3
    """added to ||D||^2; in proportion to the square of the learning rate in later rounds"""
    cap: NonNegative = 0.0
    """the longest step lr_g; 0: no limit"""

    has_average: ClassVar[bool] = True

    def init_server(self, w: Tensor) -> Vectors:
        return {"last": w.clone(), "has_last": torch.zeros_like(w[:1])}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w = sent["w"]
        y = train(w).y
        return {"w": y, "squares": (y - w).square().sum(-1, keepdim=True)}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        change = mean["w"] - w
        eps = self.eps * (of.lr / of.first_lr) ** 2
        step = mean["squares"] / (2 * (change.square().sum(-1, keepdim=True) + eps))
        step = step.nan_to_num(nan=1.0).clamp_min(1.0)  # 0/0: nothing moved, and eps is 0
        if self.cap:
            step = step.clamp_max(self.cap)
        after = mean["w"] if step == 1 else w + step * change
        last = w if server["has_last"] else after
        return after, {"last": last, "has_last": torch.ones_like(server["has_last"])}

    def average(self, w: Tensor, server: Vectors) -> Tensor:
        return (w + server["last"]) / 2
