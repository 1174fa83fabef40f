"""FedDC (Gao et al. 2022, algorithm 1): FedDyn's drift variable and SCAFFOLD's control variate.

    f_c(y) + (alpha/2)||y + h_c - w||^2 + <y, c - c_c>;   h_c <- h_c + y_c - w;   c_c as in SCAFFOLD
    w <- mean_S y_c + mean_all h_c;   c <- c + sum_S p_c (c_c+ - c_c)

Completing the square shows that h_c is FedDyn's dual: without the controls this is FedDyn. In c_c
the steps have weights as in SCAFFOLD, with momentum and the quadratic term in a_c.

The authors' code has another control, which `controls = "code"` gives. With omega_c the client's
samples over the mean number, K the steps of a client that has this number, and lr_1 the rate of
round 1:

    <y, c/omega_c - c_c>;   c_c+ = c_c - c/omega_c - (y_c - w) / (K lr_1)
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mpifl.algorithms.controls import renewed
from mpifl.algorithms.feddyn import mean_change, own_change, reply_of
from mpifl.options import NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.local import Trained
from mpifl.training.messages import Vectors


@options
class FedDC(Algorithm):
    """alpha = 0 is SCAFFOLD, control = false is FedDyn, both together is FedAvg."""

    alpha: NonNegative = 0.01
    """strength of the penalty on drift"""
    control: bool = True
    """whether the objective has the term <y, c - c_c>"""
    controls: Literal["a_c", "code"] = "a_c"
    """by what a client's change is divided for its control: lr a_c, or as in the authors' code"""

    @property
    def needs_sgd(self) -> bool:
        return self.control

    def init_server(self, w: Tensor) -> Vectors:
        return {"drift": torch.zeros_like(w), "c": torch.zeros_like(w)}

    def init_client(self, w: Tensor) -> Vectors:
        return {"drift": torch.zeros_like(w), "c": torch.zeros_like(w)}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": w, "c": server["c"]}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w, c, h, c_c = sent["w"], sent["c"], own["drift"], own["c"]
        if self.controls == "code":
            c = c / train.of.relative_size
        linear = self.alpha * h + (c - c_c) if self.control else self.alpha * h
        trained = train(w, linear=linear, pull=self.alpha)
        c_new = self._control(c_c, c, w, trained, train)
        reply = reply_of(w, trained) | {"c": c_new - c_c}
        return reply, {"drift": h + own_change(w, trained), "c": c_new}

    def _control(self, c_c: Tensor, c: Tensor, w: Tensor, trained: Trained, train: Train) -> Tensor:
        """A client's next control."""
        if not self.control:
            return c_c
        if self.controls == "a_c":
            return renewed(c_c, c, w, trained)
        of = train.of
        return c_c - c - own_change(w, trained) / (of.mean_steps * of.first_lr)

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        c = server["c"] + of.share * mean["c"]
        if self.alpha == 0:
            return mean["w"], {**server, "c": c}
        drift = server["drift"] + of.share * mean_change(w, mean)
        return mean["w"] + drift, {"drift": drift, "c": c}
