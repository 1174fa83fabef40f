"""Each class is divided among the clients by a Dirichlet draw.

It is "hetero" of FedML, NIID-Bench, MOON and FedAlign. He et al., FedML (2020); Li et al.,
Federated learning on non-IID data silos (2022), section IV.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mpifl.data.partition.base import Concentration, Known, Partition, by_class
from mpifl.options import Count, NonNegativeInt, options


@options
class Dirichlet(Partition):
    """Each class is cut at Dirichlet shares over the clients.

    They are drawn again until the smallest client has `minimum` samples.

    With `balance_cap = false` and `minimum = 0` this is FedLN's label shift, and a client may be
    left with nothing.
    """

    name: ClassVar[str] = "dirichlet"

    alpha: Concentration = 0.5
    """Small: each class goes to few clients. Large: all clients alike."""

    balance_cap: bool = True
    """Whether a client with n / clients samples or more gets none of the classes that follow."""

    minimum: NonNegativeInt = 10
    """The fewest samples that a client may have."""

    tries: Count = 1000
    """How often to draw before giving up."""

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        labels = known.labels
        order, sizes = by_class(labels, random)
        shares = self.shares(sizes, clients, random)
        owners = np.empty(len(labels), dtype=np.int64)
        owners[order] = np.repeat(np.tile(np.arange(clients), len(sizes)), shares.ravel())
        return owners

    def shares(self, sizes: np.ndarray, clients: int, random: np.random.Generator) -> np.ndarray:
        """int64 [classes, clients]: samples of a class by client; rows sum to `sizes` [classes]."""
        wanted = f"at least {self.minimum} samples for each of {clients} clients"
        if self.minimum * clients > sizes.sum():
            raise self.refused(wanted, f"{sizes.sum()} samples in all", "lower minimum or clients")
        for _ in range(self.tries):
            shares = self._draw(sizes, clients, random)
            if shares.sum(axis=0).min() >= self.minimum:
                return shares
        raise self.refused(
            wanted, f"none such in {self.tries} tries", "raise alpha or lower minimum or clients"
        )

    def _draw(self, sizes: np.ndarray, clients: int, random: np.random.Generator) -> np.ndarray:
        shares = np.zeros((len(sizes), clients), dtype=np.int64)
        held = np.zeros(clients, dtype=np.int64)
        for row, size in zip(shares, sizes, strict=True):
            # Leaving the full clients out of a Dirichlet draw and normalising again gives a
            # Dirichlet draw over the others. Drawing it directly cannot give 0 / 0, which a small
            # alpha could.
            able = np.arange(clients)
            if self.balance_cap:
                able = np.flatnonzero(held * clients < sizes.sum())
            pieces = cut(random.dirichlet(np.full(len(able), self.alpha)), size)
            # In random order: with many clients, rounding would favour the same ones in each class.
            row[random.permutation(able)] = pieces
            held += row
        return shares


def cut(shares: np.ndarray, n: int) -> np.ndarray:
    """int64 [len(shares)], sum n: n samples cut at the floors of the running sums of `shares`."""
    edges = np.cumsum(shares)
    return np.diff(np.floor(edges / edges[-1] * n).astype(np.int64), prepend=0)
