"""Curvature with the data on 1, 2 and 3 real ranks: the same numbers."""

import numpy as np
import pytest
import tiny
from mpi.calls.hessians import numbers
from mpi.job import on


@pytest.fixture(scope="module")
def alone() -> dict[str, list]:
    """What this process finds."""
    return numbers(tiny.alone())


@pytest.mark.parametrize(("mpi", "ranks"), [on("mpich", 2), on("openmpi", 3)])
def test_ranks_share_the_data_and_find_the_same_numbers(job, alone, mpi, ranks):
    for found in job(mpi).call(ranks, numbers):
        assert found.keys() == alone.keys()
        # a source that changes on one rank is refused on all
        assert found["refused"]
        for name, right in alone.items():
            difference = np.array(found[name], dtype=float) - np.array(right, dtype=float)
            assert np.abs(difference).max() < 1e-10, name
