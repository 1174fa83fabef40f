"""Clients that differ only by chance, only in size, or only in their domain."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mpifl.data.partition.base import Known, Partition, by_class, even, lognormal
from mpifl.options import NonNegative, options


@options
class Iid(Partition):
    """Equal parts of a random order, to within one sample."""

    name: ClassVar[str] = "iid"

    stratified: bool = False
    """Whether each client gets the same number of each class, to within one sample."""

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        labels = known.labels
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

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        sizes = lognormal(len(known.labels), clients, self.sigma, random)
        return random.permutation(np.repeat(np.arange(clients), sizes))


@options
class Domains(Partition):
    """Each client has one domain; the clients of a domain share its samples evenly."""

    name: ClassVar[str] = "domains"

    deal: Literal["turn", "size"] = "turn"
    """How many clients a domain has. `turn`: clients take the domains in turn. `size`: after one
    each, every further client goes to the domain with the most samples per client (as FedIIR).
    """

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        if known.domains is None:
            raise self.refused("data with domains", "data without", "choose another partition")
        order, sizes = by_class(known.domains, random)
        if clients < len(sizes):
            raise self.refused(
                f"a client for each of {len(sizes)} domains", f"{clients} clients", "raise clients"
            )
        here = even(clients, len(sizes)) if self.deal == "turn" else by_size(clients, sizes)
        if (sizes < here).any():
            found = f"{here[sizes < here][0]} clients for the {sizes[sizes < here][0]} of a domain"
            raise self.refused("a sample for each client", found, "lower clients")
        owners = np.empty(len(known.labels), dtype=np.int64)
        ranks = [np.repeat(np.arange(m), even(n, m)) for n, m in zip(sizes, here, strict=True)]
        if self.deal == "turn":
            first = np.arange(len(sizes))
            stride = len(sizes)
        else:  # the clients of a domain stand together
            first = np.cumsum(here) - here
            stride = 1
        owners[order] = np.concatenate(ranks) * stride + np.repeat(first, sizes)
        return owners


def by_size(clients: int, sizes: np.ndarray) -> np.ndarray:
    """int64 [D]: clients of each domain, of `sizes` [D] samples.

    One each, and every further one to the domain with the most samples per client (the first).

    >>> by_size(10, np.array([2048, 2344, 3929])).tolist()
    [3, 3, 4]
    >>> by_size(10, np.array([2344, 1670, 3929])).tolist()
    [3, 2, 5]
    """
    here = np.ones(len(sizes), dtype=np.int64)
    for _ in range(clients - len(sizes)):
        here[np.argmax(sizes / here)] += 1
    return here
