"""FedGMT (Li et al. 2025): clients learn from the running mean of the server's models, too.

    f_c(y) + <y, l_c>/beta + gamma tau^2 KL(teacher || y);   e <- a e + (1 - a) w

w, l_c and their mean are FedDyn's with alpha = 1/beta, without its quadratic term. The last term is
the loss `gmt` (`local.loss = "ce + gmt"`).
The teacher is the model with the weights e, which every client is sent, in evaluation mode and with
the server's BatchNorm statistics (in the authors' code: in training mode, with the initial ones).
e is tested with `evaluation.models = ["average"]`.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mpifl.algorithms.feddyn import FedDyn
from mpifl.algorithms.fedopt import Decay
from mpifl.options import Positive, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.messages import Vectors


@options
class FedGmt(Algorithm):
    """Without the loss `gmt` it is FedDyn with alpha = 1/beta and quadratic = false."""

    beta: Positive = 10.0
    """the inverse of the duals' strength"""
    decay: Decay = 0.95
    """a: how much of the running mean is kept in a round"""

    has_average: ClassVar[bool] = True

    def _dyn(self) -> FedDyn:
        return FedDyn(alpha=1 / self.beta, quadratic=False)

    def init_server(self, w: Tensor) -> Vectors:
        return self._dyn().init_server(w) | {"average": w.clone()}

    def init_client(self, w: Tensor) -> Vectors:
        return self._dyn().init_client(w)

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        return {"w": w, "average": server["average"]}

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return self._dyn().client(sent, own, train)

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        after, kept = self._dyn().server(w, server, mean, of)
        average = self.decay * server["average"] + (1 - self.decay) * after
        return after, {**kept, "average": average}

    def average(self, w: Tensor, server: Vectors) -> Tensor:
        return server["average"]
