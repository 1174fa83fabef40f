"""A partition: SCAFFOLD's (Karimireddy et al. 2020, section 7): s % similar clients.

partition = { name = "similarity", s = 10.0 }
"""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from mpifl import register
from mpifl.data.partition import Known, Partition
from mpifl.data.partition.base import even
from mpifl.options import options


@register("similarity")
@options
class Similarity(Partition):
    """s % of the samples are dealt out at random, the others sorted by label, in equal parts."""

    s: Annotated[float, Ge(0), Le(100)] = 10.0
    """similarity of the clients, in percent"""

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        labels = known.labels
        dealt, rest = np.split(random.permutation(len(labels)), [round(len(labels) * self.s / 100)])
        rest = rest[np.argsort(labels[rest], kind="stable")]
        owners = np.empty(len(labels), np.int64)
        for samples in (dealt, rest):
            owners[samples] = np.repeat(np.arange(clients), even(len(samples), clients))
        return owners
