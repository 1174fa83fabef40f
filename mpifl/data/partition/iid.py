"""Clients that are alike but for chance, but for their size, or but for their domain."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mpifl.data.partition.base import Partition, by_class, even, lognormal
from mpifl.options import NonNegative, options


@options
class Iid(Partition):
    """Near-equal parts of one random order."""

    name: ClassVar[str] = "iid"

    stratified: bool = False
    """Give every client the same number of each class, to within one sample."""

    def owners(self, labels, domains, clients, random):
        order = by_class(labels, random)[0] if self.stratified else random.permutation(len(labels))
        owners = np.empty(len(labels), dtype=np.int64)
        # Dealt like cards, through one class after the other: sizes too differ by one at most.
        owners[order] = random.permutation(clients)[np.arange(len(labels)) % clients]
        return owners


@options
class Quantity(Partition):
    """Clients of log-normally distributed sizes, each a random sample of the data."""

    name: ClassVar[str] = "quantity"

    sigma: NonNegative = 0.3
    """Standard deviation of the logarithm of a client's size."""

    def owners(self, labels, domains, clients, random):
        sizes = lognormal(len(labels), clients, self.sigma, random)
        return random.permutation(np.repeat(np.arange(clients), sizes))


@options
class Domains(Partition):
    """Each client sees one domain: clients are dealt to domains in turn, a domain's samples to its
    clients evenly.
    """

    name: ClassVar[str] = "domains"

    def owners(self, labels, domains, clients, random):
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
