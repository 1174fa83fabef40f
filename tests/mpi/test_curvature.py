"""Curvature with the data on 1, 2 and 3 real ranks: the same numbers."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from mpi.launch import ALONE, launch

PROGRAM = Path(__file__).parent / "programs" / "hessians.py"


@cache
def numbers(mpi: str, ranks: int) -> dict:
    ended = launch(mpi, ranks, PROGRAM)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize(("mpi", "ranks"), [("mpich", 2), ("openmpi", 3)])
def test_ranks_share_the_data_and_find_the_same_numbers(mpi, ranks):
    alone, shared = numbers(ALONE, 1), numbers(mpi, ranks)
    assert shared.keys() == alone.keys()
    for name, right in alone.items():
        assert (
            np.abs(np.array(shared[name], dtype=float) - np.array(right, dtype=float)).max() < 1e-10
        ), name


def test_a_source_that_changes_on_one_rank_is_refused_on_all():
    assert numbers("mpich", 2)["refused"]
