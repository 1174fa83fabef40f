"""What all partitions share. A partition gives each sample one owner, so no sample has two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge, Le

from mpifl.data.partition.parts import Parts, group
from mpifl.options import BadInput

Concentration = Annotated[float, Ge(1e-6), Le(1e12)]
"""a Dirichlet parameter; beyond these limits float64's draws are one-hot, or all equal"""


class Known(NamedTuple):
    """What the data say of the training samples."""

    labels: np.ndarray
    """int64 [n]"""
    domains: np.ndarray | None = None
    """int64 [n]; None where the data have no domains"""
    clients: np.ndarray | None = None
    """int64 [n]: whose each sample is; None where the data do not say"""


class Partition(ABC):
    """A way to distribute the training samples to clients; its fields are its options."""

    name: ClassVar[str]

    def split(self, known: Known, clients: int, random: np.random.Generator) -> Parts:
        """Each client's samples: disjoint, ascending int64 indices of training samples.

        Raises BadInput if no such split exists, or a bounded search finds none.
        """
        samples = len(known.labels)
        if clients > samples:
            raise self.refused(
                f"a sample for each of {clients} clients", f"{samples} samples", "lower clients"
            )
        return group(self.owners(known, clients, random), clients)

    @abstractmethod
    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        """int64 [n]: the client of each sample, -1 for none."""

    def refused(self, expected: str, got: str, remedy: str) -> BadInput:
        """An error of this partition, in one line."""
        return BadInput(f"partition.{self.name}: expected {expected}; got {got}; {remedy}")


def by_class(labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """All samples class after class, in random order within each, and the sizes of the classes."""
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    return order, np.unique(labels, return_counts=True)[1]


def even(n: int, parts: int) -> np.ndarray:
    """int64 [parts] adding up to n: n / parts each; the first ones get one more for the rest."""
    return n // parts + (np.arange(parts) < n % parts)


def lognormal(n: int, parts: int, sigma: float, random: np.random.Generator) -> np.ndarray:
    """int64 [parts] adding up to n, in proportion to log-normal draws of this sigma.

    Each is at least 1; they are even if sigma is 0.
    """
    if sigma == 0:
        return even(n, parts)
    draws = sigma * random.standard_normal(parts)
    weights = np.exp(draws - draws.max())
    exact = weights / weights.sum() * (n - parts)
    sizes = np.floor(exact).astype(np.int64)
    largest = np.argsort(sizes - exact, kind="stable")[: n - parts - sizes.sum()]
    sizes[largest] += 1
    return sizes + 1
