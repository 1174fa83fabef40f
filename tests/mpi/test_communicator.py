"""Communicator on real ranks, under both MPI libraries; calls/collectives.py has the checks."""

import pytest
from mpi.calls import collectives
from mpi.job import MPIS


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("mpi", MPIS)
def test_every_check_of_the_communicator_holds_on_every_rank(job, mpi, ranks):
    every = [check.__name__ for check in collectives.CHECKS]
    assert job(mpi).call(ranks, collectives.check_all) == [every] * ranks
