"""A fixed number of classes for each client, as in FedLN and NIID-Bench.

Li et al., Federated learning on non-IID data silos (2022), "quantity-based label imbalance".
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mpifl.data.partition.base import Known, Partition, by_class, even
from mpifl.options import Count, options


@options
class Classes(Partition):
    """Each client owns `per_client` classes; the owners of a class share its samples evenly."""

    name: ClassVar[str] = "classes"

    per_client: Count = 2
    """The number of a client's classes; 1 gives every client a single label."""

    style: Literal["fedln", "niid"] = "fedln"
    """`fedln`: all classes have the same number of owners, so sizes are even. `niid`: client i owns
    class i modulo their number, and others drawn at random, so sizes differ."""

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        labels = known.labels
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
        owners_by_class = []
        for is_owner, size in zip(owned.T, sizes, strict=True):
            owners_of_class = np.flatnonzero(is_owner)
            owners_by_class.append(np.repeat(owners_of_class, even(size, len(owners_of_class))))
        owners = np.empty(len(labels), dtype=np.int64)
        owners[order] = np.concatenate(owners_by_class)
        return owners

    def _refuse_gaps(self, owners: np.ndarray, sizes: np.ndarray, clients: int) -> None:
        """Raise BadInput if a class has no owner, or fewer samples than owners."""
        free = np.count_nonzero(owners == 0)
        if free:
            found = (
                f"{free} of {len(sizes)} without, at {clients} clients of {self.per_client} classes"
            )
            raise self.refused("an owner for each class", found, "raise clients or per_client")
        short = np.flatnonzero(sizes < owners)
        if len(short):
            found = f"{sizes[short[0]]} samples of a class for {owners[short[0]]} owners"
            raise self.refused(
                "a sample of a class for each owner", found, "lower clients or per_client"
            )


def even_ownership(
    clients: int, classes: int, each: int, random: np.random.Generator
) -> np.ndarray:
    """bool [clients, classes]: each client owns `each` classes.

    All classes have the same number of owners, to within one. Client after client chooses among the
    classes with places left. If a class has as many places left as there are clients to come, each
    of these must take it; then no client is left without a choice.
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
    """bool [clients, classes]: client i owns class i mod `classes`, and `each` - 1 random ones."""
    ranks = random.random((clients, classes))
    ranks[np.arange(clients), np.arange(clients) % classes] = -1
    return ranks.argsort(axis=1).argsort(axis=1) < each
