"""Control variates (Karimireddy et al. 2020): what SCAFFOLD and algorithms like it have in common.

A client keeps c_c and is sent the server's c. After its steps,

    c_c+ = c_c - c + (w - y) / (lr a_c)

a_c is the sum of the weights of the steps' gradients in (w - y) / lr: the number of steps if there
is neither momentum nor a quadratic term. With local momentum, the number of steps in place of a_c
makes the controls diverge. So does momentum of earlier rounds (`momentum_state = "persist"`),
unless it is taken out of w - y.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mpifl.training.algorithm import Algorithm
from mpifl.training.local import Trained
from mpifl.training.messages import Vectors


def mean_gradient(w: Tensor, trained: Trained) -> Tensor | None:
    """The mean gradient (w - y) / (lr a_c) of a client's steps.

    The part of w - y that comes from momentum of earlier rounds is taken out first. None at a rate
    of 0, and at one so small that it is 0 in the weights' dtype: then y = w, and the steps tell
    nothing.
    """
    rate = trained.lr * trained.accumulated
    if rate < torch.finfo(w.dtype).tiny:
        return None
    way = w - trained.y
    if trained.carried is not None:
        way = way - trained.lr * trained.carried
    return way / rate


def renewed(control: Tensor, shared: Tensor, w: Tensor, trained: Trained) -> Tensor:
    """A client's next control variate, c_c - c + (w - y) / (lr a_c)."""
    gradient = mean_gradient(w, trained)
    return control.clone() if gradient is None else control - shared + gradient


class Controlled(Algorithm):
    """An algorithm whose server and clients have a control variate each: "c" in what they keep."""

    needs_sgd: ClassVar[bool] = True

    def init_client(self, w: Tensor) -> Vectors:
        return {"c": torch.zeros_like(w)}

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": w, "c": server["c"]}
