"""What all tests share: one thread, here and in the programs they start, and runs kept out of the
working tree.
"""

import fcntl
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# torch reads it, here and in programs that tests start. It is not imported here: the process that
# hands tests out to pytest-xdist's workers needs none.
os.environ["OMP_NUM_THREADS"] = "1"
_STATE = tempfile.TemporaryDirectory(prefix="mpifl-state-")  # removed at the end
os.environ["XDG_STATE_HOME"] = _STATE.name  # in place of the user's own
# A shell's background job ignores Ctrl-C, and the programs that tests start would do so too.
signal.signal(signal.SIGINT, signal.default_int_handler)
gc.disable()  # until all tests are collected, of which nothing is garbage


def _forget(descriptor: int) -> None:
    """In place of os.fsync: tests kill processes, but not the machine."""


os.fsync = _forget

_TESTS = Path(__file__).parent
_FIRST = ("slurm", "mpi")
"""the folders whose tests take longest: they begin first, so that no worker ends long after the
others
"""
_APART = tuple(f"tests/{folder}/" for folder in _FIRST)
"""how the ids of their tests begin"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests by folder, those of `_FIRST` before the others; name their groups."""
    items.sort(key=_place)
    if getattr(config.option, "loadgroup", False):
        for item in items:
            _name_group(item)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what stays to the end: imported code and tests; and look
    through all other objects seldom, for most of them stay too.
    """
    gc.freeze()
    gc.set_threshold(700, 10, 100)
    gc.enable()


def _name_group(item: pytest.Item) -> None:
    """Write a test's xdist_group at the end of its id, where the scheduler looks for it.

    pytest-xdist 3.8 does so too, but into an attribute that pytest 9.2 no longer reads. Without
    it, every worker would start the MPI jobs that the tests of a group share.
    """
    group = item.get_closest_marker("xdist_group")
    if group is not None and "@" not in item.nodeid.rpartition("]")[2]:
        item._id = type(item._id).parse(f"{item.nodeid}@{group.args[0]}")  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadgroup`, hand out whole files, in their order, but for those of `_FIRST`.

    What the tests of a file share is then made once, and not by each worker.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Scheduler(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            has_group = scope != nodeid
            if has_group or nodeid.startswith(_APART):
                return scope
            return nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return Scheduler(config, log)


def _place(item: pytest.Item) -> int:
    for place, folder in enumerate(_FIRST):
        if _TESTS / folder in item.path.parents:
            return place
    return len(_FIRST)


@pytest.fixture(autouse=True)
def no_plugin_stays() -> Iterator[None]:
    """What a test's plugins have registered is not known to the next test."""
    yield
    plugins = sys.modules.get("mpifl.runner.plugins")
    if plugins is not None and plugins._in_use:
        plugins.use(())


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty folder, and the working directory: where a run lands that is given no --out."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """once(name, make) -> a folder made and filled by `make(folder)`: by one of pytest-xdist's
    workers, for all of them. Tests that change it take a copy.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / name
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = shared / f"{name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)  # of one that failed
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return once
