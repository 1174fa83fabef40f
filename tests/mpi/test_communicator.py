"""Federation on real ranks, under both MPI libraries; the checks themselves stand in
programs/collectives.py.
"""

from pathlib import Path

import pytest
from mpi.launch import MPIS, launch
from mpi.programs.collectives import CHECKS

PROGRAMS = Path(__file__).parent / "programs"


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("mpi", MPIS)
def test_a_federation_keeps_its_promises(mpi, ranks):
    done = launch(mpi, ranks, PROGRAMS / "collectives.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [check.__name__ for check in CHECKS]
