"""Which rank was silent for too long, and which has left too early, in words."""

from __future__ import annotations

from math import inf

import pytest

from mpifl.parallel.failure_detector import Sign, Signs

HOSTS = ["a", "b", "b"]
ALLOWED = 60.0


def known(*silences: float | Sign, at: float = 100.0) -> Signs:
    """What rank 0 knows at `at`: of each rank its main thread's silence, or a Sign."""
    signs = Signs(0, HOSTS, time=0.0)
    for rank, silence in enumerate(silences):
        signs.note(
            rank, silence if isinstance(silence, Sign) else Sign(at, 3, rank, silence, ALLOWED)
        )
    return signs


@pytest.mark.parametrize(
    ("silences", "names"),
    [
        ((0, 59, 1), ""),
        (
            (0, 1, 61),
            "rank 2 on b gave no sign of life for 61 s, last seen in round 3 with client 2",
        ),
        ((61, 62, 63), "rank 2"),  # the worst
        ((-1000, 1, -1000), ""),  # one trains: the others may wait for as long
        ((-61, -61, -61), "all ranks wait inside MPI, each for more than 60 s"),
        ((0, 1), "rank 2 on b gave no sign of life for 100 s"),  # not from the beginning
        # its node is gone
        ((0, Sign(39.0, 3, 1, -1000, ALLOWED), 0), "rank 1 on b gave no sign of life for 61 s"),
        ((0, Sign(100.0, 3, -1, 300, 6 * ALLOWED), 0), ""),  # it writes what is large
        # and is gone
        ((0, Sign(39.0, 3, -1, 0, 6 * ALLOWED), 0), "rank 1 on b gave no sign of life for 61 s"),
        ((0, Sign(100.0, 3, 1, 1e6, inf), 0), ""),
    ],
)
def test_a_rank_is_named_that_is_silent_for_longer_than_allowed_and_not_one_that_waits(
    silences, names
):
    told = known(*silences).judge(100.0, ALLOWED)
    assert told.startswith(names) and bool(told) == bool(names)


@pytest.mark.parametrize(
    ("waits", "since", "told"), [(-11, 11, True), (-9, 11, False), (-11, 9, False), (11, 11, False)]
)
def test_a_rank_has_left_too_early_if_another_waits_for_it(waits, since, told):
    signs = known(waits, 0, 0)
    signs.left(1, 100.0 - since)
    assert (
        signs.judge(100.0, ALLOWED)
        == "rank 1 on b has ended before its time: this one waits for it" * told
    )


def test_a_rank_that_cannot_be_heard_is_not_judged():
    assert not known(0, 1).judge(100.0, ALLOWED, missing={2})
    assert not known(-61, -61, -61).judge(100.0, ALLOWED, missing={2})


def test_workers_are_more_patient_so_that_the_server_ends_the_job():
    assert not known(0, 61, 0).judge(100.0, ALLOWED, more=1.25)
    assert known(0, 76, 0).judge(100.0, ALLOWED, more=1.25)


def test_nobody_is_blamed_for_the_time_that_the_judge_slept():
    signs = known(0, 0, 0, at=10.0)
    signs.forgive(100.0)
    assert not signs.judge(100.0, ALLOWED)
