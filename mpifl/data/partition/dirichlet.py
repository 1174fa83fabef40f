"""Each class shared out over the clients by a Dirichlet draw: "hetero" of FedML, NIID-Bench, MOON
and FedAlign.

He et al., FedML (2020); Li et al., Federated learning on non-IID data silos (2022), section IV.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mpifl.data.partition.base import Concentration, Partition, by_class
from mpifl.options import Count, NonNegativeInt, options


@options
class Dirichlet(Partition):
    """Class after class is cut at Dirichlet shares over the clients; drawn anew until the smallest
    client will do.

    With `balance_cap = false` and `minimum = 0` this is FedLN's label shift, and a client may be
    left with nothing.
    """

    name: ClassVar[str] = "dirichlet"

    alpha: Concentration = 0.5
    """Small: each class goes to few clients. Large: all clients alike."""

    balance_cap: bool = True
    """A client with n / clients samples or more gets none of the classes that follow."""

    minimum: NonNegativeInt = 10
    """The fewest samples that a client may have."""

    tries: Count = 1000
    """How often to draw before giving up."""

    def owners(self, labels, domains, clients, random):
        order, sizes = by_class(labels, random)
        shares = self.shares(sizes, clients, random)
        owners = np.empty(len(labels), dtype=np.int64)
        owners[order] = np.repeat(np.tile(np.arange(clients), len(sizes)), shares.ravel())
        return owners

    def shares(self, sizes: np.ndarray, clients: int, random: np.random.Generator) -> np.ndarray:
        """int64 [classes, clients]: how many of each class each client gets, with row sums `sizes`
        int64 [classes].
        """
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
            # Striking out the full clients from a Dirichlet draw and renormalising leaves a
            # Dirichlet draw over the others. Drawn so from the start, it cannot be 0 / 0 where a
            # small alpha leaves those others no share.
            able = (
                np.flatnonzero(held * clients < sizes.sum())
                if self.balance_cap
                else np.arange(clients)
            )
            # In random order, lest rounding favour the same clients in every class when there are
            # many.
            row[random.permutation(able)] = cut(
                random.dirichlet(np.full(len(able), self.alpha)), size
            )
            held += row
        return shares


def cut(shares: np.ndarray, n: int) -> np.ndarray:
    """int64, adding up to n: the pieces of n samples cut at the floors of the running sums of
    `shares`.
    """
    edges = np.cumsum(shares)
    return np.diff(np.floor(edges / edges[-1] * n).astype(np.int64), prepend=0)
