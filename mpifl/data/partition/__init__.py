"""How training samples are distributed to clients: a table of partitions by name."""

from __future__ import annotations

from mpifl.data.partition.base import Known, Partition
from mpifl.data.partition.classes import Classes
from mpifl.data.partition.dirichlet import Dirichlet
from mpifl.data.partition.iid import Domains, Iid, Quantity
from mpifl.data.partition.natural import Natural
from mpifl.data.partition.parts import Parts, counts
from mpifl.data.partition.prior import DirichletClients
from mpifl.data.partition.recorded import FromRun

PARTITIONS: dict[str, type[Partition]] = {
    kind.name: kind
    for kind in (Iid, Dirichlet, DirichletClients, Classes, Domains, Natural, Quantity, FromRun)
}

__all__ = ["PARTITIONS", "FromRun", "Known", "Partition", "Parts", "counts"]
