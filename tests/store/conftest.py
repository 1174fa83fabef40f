"""The small run of `stored.py`, with each layout of /clients."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from store import stored

from mpifl.store import Store, hdf5_layout


@pytest.fixture(params=[True, False], ids=["by round", "cohorts"])
def create(request, monkeypatch) -> Callable[..., Store]:
    """create(folder, **changed) -> Store; once with each layout of /clients."""
    if not request.param:
        monkeypatch.setattr(hdf5_layout, "MANY", stored.CLIENTS - 1)
        monkeypatch.setattr(hdf5_layout, "LARGEST_BY_ROUND", 0)
        monkeypatch.setattr(hdf5_layout, "FULL_ENOUGH", 2.0)
    return stored.create


@pytest.fixture
def add_round() -> Callable[..., None]:
    """add_round(store, t, save=False): see `stored.py`."""
    return stored.add_round


@pytest.fixture
def run(once, create, tmp_path) -> Path:
    """The folder of a complete run of 5 rounds, rounds 2 and 4 saved."""

    def make(folder: Path) -> None:
        store = create(folder)
        for t in range(1, 6):
            stored.add_round(store, t, save=t % 2 == 0)
        store.close()

    layout = hdf5_layout.LARGEST_BY_ROUND
    shutil.copytree(once(f"five-rounds-{layout}", make), tmp_path / "run")
    return tmp_path / "run"
