"""The clients that the data set itself names, such as the writers of handwritten characters."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mpifl.data.partition.base import Known, Partition
from mpifl.options import options


@options
class Natural(Partition):
    """Each client has the samples that the packed file gives to it.

    `clients` must be the number of clients with training samples. They are counted from 0 in the
    order of their names.
    """

    name: ClassVar[str] = "natural"

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        if known.clients is None:
            raise self.refused(
                "data that name the client of each sample",
                "data without clients",
                "pack them with clients (`mpifl data arrays`), or choose another partition",
            )
        present, owners = np.unique(known.clients, return_inverse=True)
        if len(present) != clients:
            raise self.refused(
                f"clients = {len(present)}, as many as have training samples in the data",
                f"{clients}",
                f"set clients = {len(present)}",
            )
        return owners
