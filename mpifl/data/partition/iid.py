"""Clients that differ only by chance, only in size, or only in their domain."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mpifl.data.partition.base import Partition, by_class, even, lognormal
from mpifl.options import NonNegative, options


@options
class Iid(Partition):
    """Equal parts of a random order, to within one sample."""

    name: ClassVar[str] = "iid"

    stratified: bool = False
    """Whether each client gets the same number of each class, to within one sample."""

    def owners(
        self,
        labels: np.ndarray,
        domains: np.ndarray | None,
        clients: int,
        random: np.random.Generator,
    ) -> np.ndarray:
        order = by_class(labels, random)[0] if self.stratified else random.permutation(len(labels))
        owners = np.empty(len(labels), dtype=np.int64)
        # Samples are dealt like cards, one class after the other: sizes too differ by at most one.
        owners[order] = random.permutation(clients)[np.arange(len(labels)) % clients]
        return owners


@options
class Quantity(Partition):
    """Clients of log-normally distributed sizes, each a random sample of the data."""

    name: ClassVar[str] = "quantity"

    sigma: NonNegative = 0.3
    """Standard deviation of the logarithm of a client's size."""

    def owners(
        self,
        labels: np.ndarray,
        domains: np.ndarray | None,
        clients: int,
        random: np.random.Generator,
    ) -> np.ndarray:
        sizes = lognormal(len(labels), clients, self.sigma, random)
        return random.permutation(np.repeat(np.arange(clients), sizes))


@options
class Domains(Partition):
    """Each client has one domain; clients take the domains in turn.

    The clients of a domain share its samples evenly.
    """

    name: ClassVar[str] = "domains"

    def owners(
        self,
        labels: np.ndarray,
        domains: np.ndarray | None,
        clients: int,
        random: np.random.Generator,
    ) -> np.ndarray:
        if domains is None:
            raise self.refused("data with domains", "data without", "choose another partition")
        order, sizes = by_class(domains, random)
        here = even(clients, len(sizes))
        if (here < 1).any():
            raise self.refused(
                f"a client for each of {len(sizes)} domains", f"{clients} clients", "raise clients"
            )
        if (sizes < here).any():
            found = f"{here[sizes < here][0]} clients for the {sizes[sizes < here][0]} of a domain"
            raise self.refused("a sample for each client", found, "lower clients")
        owners = np.empty(len(labels), dtype=np.int64)
        ranks = [np.repeat(np.arange(m), even(n, m)) for n, m in zip(sizes, here, strict=True)]
        owners[order] = np.concatenate(ranks) * len(sizes) + np.repeat(np.arange(len(sizes)), sizes)
        return owners
