"""A small run in which every value tells its round: a read of mixed or old values is noticed."""

from pathlib import Path

import numpy as np

from mpifl.store import Entry, Partition, Store
from mpifl.store.measurements import Finding, Findings

PATH = "exact/round_000004/global"
"""what `add_findings` is about"""
LAYOUT = [
    Entry("layer.weight", "parameter", (3, 3), 0, 9),
    Entry("scale", "parameter", (), 9, 1),
    Entry("norm.mean", "buffer", (2,), 0, 2),
]
CLIENTS = 4
PARTITION = Partition(
    np.arange(8)[::-1], np.array([0, 1, 3, 3, 8]), np.arange(12).reshape(CLIENTS, 3)
)


def create(folder: Path, **changed) -> Store:
    given = {
        "config": 'name = "tiny"\n',
        "seed": 7,
        "layout": LAYOUT,
        "clients": CLIENTS,
        "partition": PARTITION,
        "provenance": {"hosts": ["n1", "n1", "n2"], "ranks": 3, "mpi": "an MPI"},
        "commit_seconds": 0.0,
    }
    return Store.create(folder, **(given | changed))


def add_round(store: Store, t: int, save: bool = False) -> None:
    """A round of clients t and t + 1 (modulo 4) whose values are made of t."""
    if save:
        store.weights(
            t,
            np.full(10, t, "f4"),
            np.full(2, -t, "f4"),
            np.full((2, 10), t + 0.5, "f4"),
            None,
            [1, 3],
        )
    row = {
        "test_accuracy": t / 10,
        "bytes_up": 100 * t,
        "seconds_train": 0.5 * t,
        "sha256": f"{t:064x}",
    }
    store.append(t, row, {"loss": [t, -t]}, [t % CLIENTS, (t + 1) % CLIENTS])


def add_findings(folder: Path) -> None:
    findings = Findings.open(folder)
    findings.add(f"{PATH}/eigenvalues", Finding({"values": np.ones(3)}, {"weights_sha256": "ab"}))
    findings.add_vectors(f"{PATH}/diagonal", {"diagonal": np.ones(3)}, {"weights_sha256": "ab"})
