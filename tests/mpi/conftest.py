"""The running MPI jobs that tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from mpi.job import Job


@pytest.fixture(scope="session")
def job(tmp_path_factory) -> Iterator[Callable[[str], Job]]:
    """job(mpi) -> a running job of that MPI library; a new one where the last has ended."""
    folder = tmp_path_factory.mktemp("jobs")
    running: dict[str, Job] = {}

    def job(mpi: str) -> Job:
        if mpi not in running or running[mpi].ended():
            running[mpi] = Job(mpi, folder / f"{mpi}.log")
        return running[mpi]

    yield job
    for one in running.values():
        one.close()
