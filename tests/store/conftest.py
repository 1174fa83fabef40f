"""A small run in which every value tells its round: a read of mixed or old values is noticed."""

from pathlib import Path

import numpy as np
import pytest

from mpifl.store import Entry, Partition, Store, hdf5_layout

LAYOUT = [
    Entry("layer.weight", "parameter", (3, 3), 0, 9),
    Entry("scale", "parameter", (), 9, 1),
    Entry("norm.mean", "buffer", (2,), 0, 2),
]
CLIENTS = 4
PARTITION = Partition(
    np.arange(8)[::-1], np.array([0, 1, 3, 3, 8]), np.arange(12).reshape(CLIENTS, 3)
)


@pytest.fixture(params=[True, False], ids=["by round", "cohorts"])
def create(request, monkeypatch):
    """create(folder, **changed) -> Store; once with each layout of /clients."""
    if not request.param:
        monkeypatch.setattr(hdf5_layout, "MANY", CLIENTS - 1)
        monkeypatch.setattr(hdf5_layout, "LARGEST_BY_ROUND", 0)
        monkeypatch.setattr(hdf5_layout, "FULL_ENOUGH", 2.0)

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

    return create


@pytest.fixture
def add_round():
    """add_round(store, t, save=False): a round of clients t and t + 1 (modulo 4) whose values are
    made of t.
    """

    def add_round(store: Store, t: int, save: bool = False) -> None:
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

    return add_round


@pytest.fixture
def run(tmp_path, create, add_round) -> Path:
    """The folder of a complete run of 5 rounds, rounds 2 and 4 saved."""
    store = create(tmp_path / "run")
    for t in range(1, 6):
        add_round(store, t, save=t % 2 == 0)
    store.close()
    return tmp_path / "run"
