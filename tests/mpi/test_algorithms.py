"""What algorithms and losses remember of clients has the same bits on any number of ranks."""

import pytest
import tiny
from mpi.calls.algorithms import CASES, digests
from mpi.job import MPICH

from mpifl.algorithms import ALGORITHMS

pytestmark = MPICH


@pytest.fixture(scope="module")
def alone() -> dict[str, list]:
    """What this process finds."""
    return digests(tiny.alone())


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rule_has_the_same_bits_with_some_of_its_clients_away(job, alone, ranks):
    server, *_ = job("mpich").call(ranks, digests)
    different = [name for name in CASES if server[name] != alone[name]]
    assert different == []


def test_the_runs_differ_and_clients_stay_away(alone):
    assert alone.keys() == CASES.keys()
    lasts = {name: rounds[-1][0] for name, rounds in alone.items()}
    assert len({lasts[name] for name in ALGORITHMS}) == len(ALGORITHMS)
    for name, rounds in alone.items():
        assert len({digest for digest, _ in rounds}) == len(rounds)
        if name == "central":  # one client that is always there
            continue
        cohorts = [len(rows) for _, rows in rounds]
        assert min(cohorts) < 5
        assert len(set(cohorts)) > 1
