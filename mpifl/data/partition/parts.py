"""Who has which samples: one array of indices and where each client's begin, lean for a million
clients too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK = 1 << 16  # clients counted at once


@dataclass(frozen=True, eq=False)
class Parts(Sequence):
    """The sample indices of each client: `parts[c]` is a view of int64 [samples].

    >>> parts = group(np.array([1, 0, -1, 1]), clients=3)
    >>> [part.tolist() for part in parts], parts.sizes.tolist()
    ([[1], [0, 3], []], [1, 2, 0])
    """

    indices: np.ndarray
    """int64 [samples dealt], client after client"""
    offsets: np.ndarray
    """int64 [clients + 1]: where each client's begin in `indices`, and the end"""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, client: int) -> np.ndarray:
        client = range(len(self))[client]
        return self.indices[self.offsets[client] : self.offsets[client + 1]]

    @property
    def sizes(self) -> np.ndarray:
        """int64 [clients]: how many samples each has."""
        return np.diff(self.offsets)


def group(owners: np.ndarray, clients: int) -> Parts:
    """Each client's ascending sample indices, from the client of each sample (int64 [n], -1 for
    none).
    """
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
