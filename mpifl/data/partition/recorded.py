"""The partition of an earlier run, so that another method has the same clients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mpifl.config import expanded
from mpifl.data.partition.base import Known, Partition
from mpifl.options import options


@options
class FromRun(Partition):
    """Each client gets the samples that it had in the run at `path`."""

    name: ClassVar[str] = "run"

    path: str
    """The folder of the run, or its results file; may contain ~ and $VARIABLES."""

    def owners(self, known: Known, clients: int, random: np.random.Generator) -> np.ndarray:
        from mpifl.store import Run  # only this partition reads runs

        run = Run.open(expanded(self.path, "partition.path"))
        indices, offsets = run.whole_partition()
        if len(offsets) != clients + 1:
            found = f"{len(offsets) - 1} in {self.path}"
            raise self.refused(
                f"a run of {clients} clients", found, f"set clients = {len(offsets) - 1}"
            )
        if len(np.unique(indices)) != len(indices) or (len(indices) and indices.min() < 0):
            found = f"repeated or negative indices in {self.path}"
            raise self.refused("each sample at most once", found, "name another run")
        samples = len(known.labels)
        if len(indices) and indices.max() >= samples:
            found = f"sample {indices.max()} in {self.path}"
            raise self.refused(f"samples below {samples}", found, "use the data of that run")
        owners = np.full(samples, -1, dtype=np.int64)
        owners[indices] = np.repeat(np.arange(clients), np.diff(offsets))
        return owners
