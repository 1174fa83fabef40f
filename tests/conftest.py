"""What all tests share: one thread, here and in the programs they start, and runs kept out of the
working tree.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

os.environ["OMP_NUM_THREADS"] = "1"  # for programs that tests start
torch.set_num_threads(1)


_TESTS = Path(__file__).parent
_FIRST = ("slurm", "mpi")
"""the folders whose tests take longest: they begin first, so that no worker ends long after the
others
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by folder, those of `_FIRST` before the others."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    for place, folder in enumerate(_FIRST):
        if _TESTS / folder in item.path.parents:
            return place
    return len(_FIRST)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty folder, and the working directory: where a run lands that is given no --out."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """once(name, make) -> a folder filled by `make(folder)`: by one of pytest-xdist's workers, for
    all of them.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / name
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                make(folder)
        return folder

    return once
