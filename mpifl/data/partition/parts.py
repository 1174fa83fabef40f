"""Which client has which samples: one array of indices, and where each client's begin.

It is small enough for a million clients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BLOCK = 1 << 16  # clients counted at once


@dataclass(frozen=True, eq=False)
class Parts:
    """The sample indices of each client: `parts[client]` is int64 [samples], a view of `indices`.

    >>> parts = group(np.array([1, 0, -1, 1]), clients=3)
    >>> [part.tolist() for part in parts], parts.sizes.tolist()
    ([[1], [0, 3], []], [1, 2, 0])
    """

    indices: np.ndarray
    """int64 [samples dealt], client after client"""
    offsets: np.ndarray
    """int64 [clients + 1]: where those of each client begin in `indices`, and the end"""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, client: int) -> np.ndarray:
        number = range(len(self))[client]  # raises IndexError; counts negative ones from the end
        return self.indices[self.offsets[number] : self.offsets[number + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[client] for client in range(len(self)))

    def take(self, places: np.ndarray) -> Parts:
        """The samples at these places of `indices` (ascending int64, or bool)."""
        owners = np.repeat(np.arange(len(self)), self.sizes)[places]
        sizes = np.bincount(owners, minlength=len(self))
        return Parts(self.indices[places], np.concatenate([[0], np.cumsum(sizes)]))

    @property
    def sizes(self) -> np.ndarray:
        """int64 [clients]: how many samples each client has."""
        return np.diff(self.offsets)


def group(owners: np.ndarray, clients: int) -> Parts:
    """Each client's samples, ascending, from each sample's client (int64 [n], -1: none)."""
    order = np.argsort(owners, kind="stable").astype(np.int64, copy=False)
    bounds = np.searchsorted(owners[order], np.arange(clients + 1))
    return Parts(order[bounds[0] : bounds[-1]], bounds - bounds[0])


def counts(labels: np.ndarray, parts: Parts, classes: int) -> np.ndarray:
    """int32 [clients, classes]: how many samples of each class each client has."""
    table = np.empty((len(parts), classes), dtype=np.int32)
    for start in range(0, len(parts), _BLOCK):
        bounds = parts.offsets[start : start + _BLOCK + 1]
        clients = len(bounds) - 1
        cells = np.repeat(np.arange(clients) * classes, np.diff(bounds))
        cells += labels[parts.indices[bounds[0] : bounds[-1]]]
        found = np.bincount(cells, minlength=clients * classes)
        table[start : start + clients] = found.reshape(clients, classes)
    return table
