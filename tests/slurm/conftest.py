"""A cluster for the tests of jobs/, and the same run without any, to compare with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tomli_w
from mpi.launch import ALONE, launch
from slurm.account import CONFIG, MORE_ROUNDS, Account, hashes
from slurm.cluster import Cluster, lacking


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three nodes, for all tests of a process."""
    if why := lacking():
        pytest.skip(why)
    # a socket's path must be short
    with tempfile.TemporaryDirectory(prefix="mpifl-slurm-") as folder:
        cluster = Cluster(Path(folder), nodes=3)
        yield cluster
        cluster.stop()


@pytest.fixture
def account(cluster, tmp_path) -> Account:
    """A folder with `config.toml`, and the cluster."""
    (tmp_path / "config.toml").write_text(tomli_w.dumps(CONFIG))
    return Account(cluster, tmp_path)


@pytest.fixture(scope="session")
def alone(once) -> Path:
    """The run of the config on one rank without a cluster, with more rounds: how many are to come
    is all the same.
    """

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "config.toml").write_text(tomli_w.dumps(CONFIG))
        command = ("-m", "mpifl", "run", "config.toml", f"rounds={MORE_ROUNDS}", "--out", "run")
        done = launch(ALONE, 1, *command, cwd=folder, timeout=900)
        assert done.returncode == 0, done.stderr

    return once("alone", make) / "run"


@pytest.fixture(scope="session")
def undisturbed(alone) -> Callable[..., list[str]]:
    """undisturbed(60) -> the SHA-256 of the weights after each of so many rounds."""
    return lambda rounds=CONFIG["rounds"]: hashes(alone)[:rounds]
