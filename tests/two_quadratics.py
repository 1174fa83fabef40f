"""One problem for every rule: two clients in two dimensions, and cohorts that are prescribed.

f_c(y) = (y - b_c)' A_c (y - b_c) / 2, three exact steps a round.
"""

from __future__ import annotations

import numpy as np
import torch
from quadratics import Moment, Quadratics, moments

from mpifl.training.algorithm import Algorithm
from mpifl.training.local import Local

COHORTS = ([0, 1], [0], [1], [0, 1])
LOCAL = Local(steps=3, batch=1, lr=0.1)


class Problem(Quadratics):
    def __init__(self) -> None:
        self.A = torch.diag_embed(torch.tensor([[1.0, 3.0], [2.0, 1.0]], dtype=torch.float64))
        self.b = torch.tensor([[1.0, 0.0], [-1.0, 2.0]], dtype=torch.float64)
        self.start = torch.tensor([1.0, -1.0], dtype=torch.float64)
        self.sizes = np.array([1, 1])


class Prescribed:
    """The cohorts that the problem prescribes; all clients after them."""

    def cohort(self, seed, round, clients, of):
        return np.array(COHORTS[round - 1] if round <= len(COHORTS) else [0, 1])


def problem(algorithm: Algorithm, local: Local = LOCAL, rounds: int = 4) -> list[Moment]:
    """A run on the problem: what it was after each round."""
    x = Problem().experiment(algorithm, local, rounds, Prescribed(), objective="uniform")
    return moments(x)
