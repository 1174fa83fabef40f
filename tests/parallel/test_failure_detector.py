"""Which rank was silent for too long, and which has left too early, in words."""

from __future__ import annotations

from math import inf

import pytest

from mpifl.parallel.failure_detector import FailureDetector, Limit, Report

HOSTS = ["a", "b", "b"]
TIMEOUT = 60.0
LIMIT = Limit(TIMEOUT, "an option")
NOW = 100.0


def detector(margin: float = 0.0) -> FailureDetector:
    """That of rank 0, which has heard nobody since time 0."""
    return FailureDetector(0, HOSTS, time=0.0, margin=margin, early=10.0)


def report(rank: int, silence: float, waiting: bool = False, timeout: float = TIMEOUT) -> Report:
    return Report(3, rank, silence, waiting, timeout)


def busy(*silences: float, margin: float = 0.0) -> FailureDetector:
    """All ranks were heard now; their main threads work, and last reported so long ago."""
    made = detector(margin)
    for rank, silence in enumerate(silences):
        made.heard(rank, report(rank, silence), NOW)
    return made


def waiting(*silences: float) -> FailureDetector:
    """All ranks were heard now; their main threads have waited inside MPI for so long."""
    made = detector()
    for rank, silence in enumerate(silences):
        made.heard(rank, report(rank, silence, waiting=True), NOW)
    return made


@pytest.mark.parametrize(
    ("silences", "said"),
    [
        ((0, 59, 1), ""),
        (
            (0, 1, 61),
            "rank 2 on b has not reported for 61 s, last seen in round 3 with client 2 (an option)",
        ),
        (
            (61, 63, 62),
            "rank 1 on b has not reported for 63 s, last seen in round 3 with client 1 (an option)",
        ),
        (
            (61, 0, 0),
            "rank 0 on a has not reported for 61 s, last seen in round 3 with client 0 (an option)",
        ),
    ],
)
def test_the_rank_whose_main_thread_was_silent_for_longest_is_named(silences, said):
    assert busy(*silences).failure(NOW, LIMIT) == said


def test_a_rank_waiting_inside_mpi_may_be_silent_for_as_long_as_another_works():
    made = waiting(1000, 1000, 1000)
    made.heard(1, report(1, silence=1), NOW)
    assert made.failure(NOW, LIMIT) == ""


def test_all_ranks_waiting_inside_mpi_for_too_long_are_a_failure():
    said = "all ranks wait inside MPI, each for more than 60 s (an option)"
    assert waiting(61, 61, 61).failure(NOW, LIMIT) == said
    assert waiting(61, 59, 61).failure(NOW, LIMIT) == ""


def test_a_rank_that_was_never_heard_is_named():
    made = busy(0, 1)
    assert made.failure(NOW, LIMIT) == "rank 2 on b has not reported for 100 s (an option)"


def test_a_rank_that_sends_no_heartbeats_is_named_whatever_its_own_timeout():
    made = busy(0, 0, 0)
    made.heard(1, report(1, silence=0, timeout=inf), NOW - 61)
    assert made.failure(NOW, LIMIT).startswith("rank 1 on b has not reported for 61 s")
    made = waiting(0, 0, 0)
    made.heard(1, report(1, silence=1000, waiting=True), NOW - 61)
    assert made.failure(NOW, LIMIT).startswith("rank 1 on b has not reported for 61 s")


@pytest.mark.parametrize(("unheard", "named"), [(300, False), (361, True)])
def test_a_rank_that_reads_a_large_file_may_send_no_heartbeats_meanwhile(unheard, named):
    made = busy(0, 0, 0)
    made.heard(1, report(1, silence=0, timeout=6 * TIMEOUT), NOW - unheard)
    assert ("rank 1 on b" in made.failure(NOW, LIMIT)) == named


@pytest.mark.parametrize("timeout", [6 * TIMEOUT, inf])
def test_a_rank_may_be_silent_for_as_long_as_its_own_timeout(timeout):
    made = busy(0, 0, 0)
    made.heard(1, report(1, silence=300, timeout=timeout), NOW)
    assert made.failure(NOW, LIMIT) == ""


def test_the_margin_is_added_to_all_limits():
    assert busy(0, 64, 0, margin=5.0).failure(NOW, LIMIT) == ""
    assert busy(0, 66, 0, margin=5.0).failure(NOW, LIMIT).startswith("rank 1 on b")
    assert busy(0, 0, 0, margin=5.0).failure(NOW + 64, LIMIT) == ""
    assert busy(0, 0, 0, margin=5.0).failure(NOW + 66, LIMIT) != ""


@pytest.mark.parametrize(
    ("waits", "since", "named"), [(11, 11, True), (9, 11, False), (11, 9, False)]
)
def test_a_rank_has_left_too_early_if_another_waits_for_it(waits, since, named):
    made = waiting(waits, 0, 0)
    made.left(1, NOW - since)
    said = "rank 1 on b ended early; this rank still waits for it" if named else ""
    assert made.failure(NOW, LIMIT) == said


def test_a_rank_that_has_left_is_no_failure_for_one_that_works():
    made = busy(11, 0, 0)
    made.left(1, NOW - 11)
    assert made.failure(NOW, LIMIT) == ""


@pytest.mark.parametrize(("since", "named"), [(11, True), (9, False)])
def test_a_process_that_has_ended_is_a_failure_for_one_that_waits_at_its_own_end(since, named):
    made = waiting(1000, 0, 0)
    for rank in (0, 1):
        made.left(rank, 0.0)
    assert made.failure(NOW, Limit(inf, "")) == ""
    made.ended(1, NOW - since)
    assert ("rank 1 on b" in made.failure(NOW, Limit(inf, ""))) == named


def test_ranks_that_cannot_be_reached_are_skipped():
    assert busy(0, 1).failure(NOW, LIMIT, unreachable={2}) == ""
    assert waiting(61, 61, 61).failure(NOW, LIMIT, unreachable={2}) == ""


def test_a_worker_judges_the_server_and_itself():
    made = FailureDetector(2, HOSTS, time=0.0, margin=0.0, early=10.0)
    made.heard(0, report(0, 0), NOW)
    made.heard(2, report(2, 0), NOW)
    assert made.failure(NOW, LIMIT) == ""
    assert made.failure(NOW + 61, LIMIT).startswith("rank 0 on a")


def test_no_rank_is_blamed_for_the_time_in_which_this_process_was_stopped():
    made = busy(0, 0, 0)
    made.forgive(NOW + 1000)
    assert made.failure(NOW + 1000, LIMIT) == ""
