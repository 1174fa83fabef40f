"""A fixed number of classes for each client, as FedLN and NIID-Bench deal them.

Li et al., Federated learning on non-IID data silos (2022), "quantity-based label imbalance".
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mpifl.data.partition.base import Partition, by_class, even
from mpifl.options import Count, options


@options
class Classes(Partition):
    """Each client owns `per_client` classes; a class's samples are shared evenly among its owners."""

    name: ClassVar[str] = "classes"

    per_client: Count = 2
    """Classes that a client has; 1 gives every client a single label."""

    style: Literal["fedln", "niid"] = "fedln"
    """`fedln`: all classes have the same number of owners, so that sizes are even. `niid`: client i
    owns class i, counted round, and others drawn at random, so that sizes differ."""

    def owners(self, labels, domains, clients, random):
        order, sizes = by_class(labels, random)
        if self.per_client > len(sizes):
            raise self.refused(
                f"per_client of at most {len(sizes)} classes", f"{self.per_client}", "lower it"
            )
        if self.style == "fedln":
            owned = even_ownership(clients, len(sizes), self.per_client, random)
        else:
            owned = random_ownership(clients, len(sizes), self.per_client, random)
        self._refuse_gaps(owned.sum(axis=0), sizes, clients)
        dealt = [
            np.repeat(np.flatnonzero(of), even(n, of.sum()))
            for of, n in zip(owned.T, sizes, strict=True)
        ]
        owners = np.empty(len(labels), dtype=np.int64)
        owners[order] = np.concatenate(dealt)
        return owners

    def _refuse_gaps(self, owners: np.ndarray, sizes: np.ndarray, clients: int) -> None:
        if (free := int((owners == 0).sum())) > 0:
            found = (
                f"{free} of {len(sizes)} without, at {clients} clients of {self.per_client} classes"
            )
            raise self.refused("an owner for each class", found, "raise clients or per_client")
        if (short := np.flatnonzero(sizes < owners)).size:
            found = f"{sizes[short[0]]} samples of a class for {owners[short[0]]} owners"
            raise self.refused(
                "a sample of a class for each owner", found, "lower clients or per_client"
            )


def even_ownership(
    clients: int, classes: int, each: int, random: np.random.Generator
) -> np.ndarray:
    """bool [clients, classes]: `each` classes a client, chosen client after client among those with
    places left.

    All classes have the same number of places, to within one. A class with as many left as there
    are clients to come must be taken by each of them; where that is done, no client can be left
    without a choice.
    """
    places = random.permutation(even(clients * each, classes))
    owned = np.zeros((clients, classes), dtype=bool)
    for client, to_come in zip(owned, range(clients, 0, -1), strict=True):
        client[places == to_come] = True
        open_classes = np.flatnonzero((places > 0) & ~client)
        client[random.choice(open_classes, each - client.sum(), replace=False)] = True
        places = places - client
    return owned


def random_ownership(
    clients: int, classes: int, each: int, random: np.random.Generator
) -> np.ndarray:
    """bool [clients, classes]: client i owns class i modulo `classes`, and `each` - 1 others drawn
    at random.
    """
    ranks = random.random((clients, classes))
    ranks[np.arange(clients), np.arange(clients) % classes] = -1
    return ranks.argsort(axis=1).argsort(axis=1) < each
