"""What rules remember, and losses of clients, gives the same bits however many ranks the clients
are dealt to.
"""

import json
from pathlib import Path

import pytest
import tiny
from mpi.launch import launch
from mpi.programs.rules import CASES, PARTLY

from mpifl.algorithms import ALGORITHMS

PROGRAM = Path(__file__).parent / "programs" / "rules.py"


def results(ranks):
    done = launch("mpich", ranks, PROGRAM, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def alone():
    """What this process finds, as it would print it."""
    return json.loads(
        json.dumps({name: tiny.digests({**PARTLY, **case}) for name, case in CASES.items()})
    )


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rule_has_the_same_bits_with_some_of_its_clients_away(alone, ranks):
    got = results(ranks)
    different = [name for name in CASES if got[name] != alone[name]]
    assert different == []


def test_the_runs_differ_and_clients_stay_away(alone):
    assert alone.keys() == CASES.keys()
    lasts = {name: rounds[-1][0] for name, rounds in alone.items()}
    assert len({lasts[name] for name in ALGORITHMS}) == len(ALGORITHMS)
    for rounds in alone.values():
        cohorts = [len(rows) for _, rows in rounds]
        assert len({digest for digest, _ in rounds}) == len(rounds)
        assert min(cohorts) < 5
        assert len(set(cohorts)) > 1
