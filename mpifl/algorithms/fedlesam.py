"""FedLESAM (Fan et al. 2024): the perturbation is the way back to the model sent before.

    y <- y - lr g(y + delta),   delta = rho (w_last - w) / ||w_last - w||

delta is the same in all steps of a round, which therefore takes one gradient a step. `rule` has the
rest: FedAvg, SCAFFOLD (FedLESAM-S) or FedDyn (FedLESAM-D). w_last is the server's last model (the
authors' code), or what this client was sent last (the abstract). As long as there is none, delta
is 0. The released code differs: it moves each tensor by one number, which it looks up by the
tensor's place in the list; that is not offered. Its FedLESAM-S has `rule.strength = 0.1`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.feddyn import FedDyn
from mpifl.algorithms.oracles import Shifted
from mpifl.algorithms.scaffold import Scaffold
from mpifl.options import Named, NonNegative, options
from mpifl.training.algorithm import Algorithm, ServerRound, Train, TrainWith
from mpifl.training.gradients import over_norm
from mpifl.training.messages import Vectors

RULES: dict[str, type[Algorithm]] = {"fedavg": FedAvg, "scaffold": Scaffold, "feddyn": FedDyn}


@options
class FedLesam(Algorithm):
    """rho = 0 is its `rule`."""

    rho: NonNegative = 0.1
    """length of the perturbation"""
    last: Literal["round", "own"] = "round"
    """the model that the way leads back to: the server's of the last round, or the one that this
    client was sent last
    """
    rule: Annotated[Algorithm, Named(RULES, "fedavg")] = FedAvg()
    """how clients and server update otherwise"""

    @property
    def needs_sgd(self) -> bool:
        return self.rule.needs_sgd

    def init_server(self, w: Tensor) -> Vectors:
        own = {"last": w.clone()} if self.last == "round" else {}
        return self.rule.init_server(w) | own

    def init_client(self, w: Tensor) -> Vectors:
        own = {}
        if self.last == "own":
            own = {"last": w.clone(), "has_last": torch.zeros_like(w[:1])}
        return self.rule.init_client(w) | own

    def send(self, w: Tensor, server: Vectors) -> Vectors:
        own = {"last": server["last"]} if self.last == "round" else {}
        return self.rule.send(w, server) | own

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        w = sent["w"]
        if self.last == "round":
            back = sent["last"] - w
        else:
            back = own["has_last"] * (own["last"] - w)
        if self.rho:
            shift = back * over_norm(self.rho, back)
            train = TrainWith(train, Shifted(train.of.gradient, shift))
        reply, kept = self.rule.client(sent, own, train)
        if self.last == "own":
            kept = {**kept, "last": w.clone(), "has_last": torch.ones_like(own["has_last"])}
        return reply, kept

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        after, kept = self.rule.server(w, server, mean, of)
        if self.last == "round":
            kept = {**kept, "last": w}
        return after, kept
