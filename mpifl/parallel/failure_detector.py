"""Failure detector: what each rank last reported, and which one has hung, stopped or left early."""

from __future__ import annotations

from collections.abc import Set
from math import inf
from typing import NamedTuple


class Limit(NamedTuple):
    """The longest silence allowed, in seconds (inf: no limit), and what sets it, for messages."""

    seconds: float
    source: str


NO_LIMIT = Limit(inf, "no limit")


class Report(NamedTuple):
    """What a rank says of its main thread in every heartbeat."""

    round: int
    client: int
    """the client in training; -1 before the first one"""
    silence: float
    """seconds since the main thread last reported"""
    waiting: bool
    """whether the main thread is inside MPI, where it waits for other ranks"""
    timeout: float
    """seconds for which the main thread may be silent outside MPI; inf: no limit"""


class _LastHeard(NamedTuple):
    time: float
    report: Report


class FailureDetector:
    """What `rank` has heard of itself and of the others; rank i is on `hosts[i]`.

    The server (rank 0) hears all ranks, a worker only the server. Times are those of
    `time.monotonic`. `margin` is added to all limits; `early` is how long a rank waits inside MPI
    for one that has left (seconds).
    """

    def __init__(
        self, rank: int, hosts: list[str], time: float, *, margin: float, early: float
    ) -> None:
        self._rank = rank
        self._hosts = hosts
        self._margin = margin
        self._early = early
        watched = {0, rank} if rank else range(len(hosts))
        nothing = Report(round=0, client=-1, silence=0.0, waiting=False, timeout=inf)
        self._last = {other: _LastHeard(time, nothing) for other in watched}
        self._left: dict[int, float] = {}
        self._ended: dict[int, float] = {}

    def heard(self, rank: int, report: Report, time: float) -> None:
        """Note a heartbeat."""
        self._last[rank] = _LastHeard(time, report)

    def left(self, rank: int, time: float) -> None:
        """Note that a rank has done its work: it takes part in no further collective."""
        self._left.setdefault(rank, time)

    def has_left(self, rank: int) -> bool:
        """Whether a rank has done its work."""
        return rank in self._left

    def ended(self, rank: int, time: float) -> None:
        """Note that a rank's process has ended, after its work was done."""
        self._last.pop(rank, None)
        self._ended[rank] = time

    def forgive(self, time: float) -> None:
        """Ignore all silence before `time`: this process was stopped and could hear nobody."""
        for rank, last in self._last.items():
            self._last[rank] = _LastHeard(time, last.report)

    def name(self, rank: int) -> str:
        """As in `rank 3 on node7`."""
        return f"rank {rank} on {self._hosts[rank]}"

    def place(self, rank: int) -> str:
        """The last round and client of a rank, as the end of a sentence; empty if unknown."""
        if rank not in self._last:
            return ""
        report = self._last[rank].report
        if report.client < 0:
            return ""
        return f", last seen in round {report.round} with client {report.client}"

    def silence(self, rank: int, time: float) -> float:
        """Seconds since a rank's main thread reported; inside MPI: since the last heartbeat."""
        last = self._last[rank]
        unheard = time - last.time
        if last.report.waiting:
            return unheard
        return unheard + last.report.silence

    def failure(self, time: float, limit: Limit, unreachable: Set[int] = frozenset()) -> str:
        """What has gone wrong, in words; empty if nothing has.

        `limit` applies to the time without a heartbeat, and to all ranks waiting inside MPI. The
        ranks in `unreachable` send no heartbeats and are skipped.
        """
        return (
            self._silent_rank(time, limit, unreachable)
            or self._early_end(time)
            or self._deadlock(limit, unreachable)
        )

    def _silent_rank(self, time: float, limit: Limit, unreachable: Set[int]) -> str:
        """The rank that has been silent for longest among those that were silent for too long."""
        failed = [
            rank
            for rank in sorted(self._last.keys() - unreachable)
            if self._is_silent(rank, time, limit.seconds)
        ]
        if not failed:
            return ""
        worst = max(failed, key=lambda rank: self.silence(rank, time))
        seconds = self.silence(worst, time)
        what = f"{self.name(worst)} has not reported for {seconds:.0f} s{self.place(worst)}"
        return f"{what} ({limit.source})"

    def _is_silent(self, rank: int, time: float, limit: float) -> bool:
        last = self._last[rank]
        hangs = self.silence(rank, time) > last.report.timeout + self._margin
        if last.report.timeout < inf:
            # Reading a large file may keep Python's other threads from running.
            limit = max(limit, last.report.timeout)
        is_unheard = time - last.time > limit + self._margin
        return hangs or is_unheard

    def _early_end(self, time: float) -> str:
        """A rank that has left, while this rank waits for it inside MPI."""
        own = self._last[self._rank].report
        if not own.waiting:
            return ""
        # After its own work, a rank waits for all processes to arrive at their end. None ends
        # before that.
        gone = self._ended if self.has_left(self._rank) else self._left
        for rank, since in gone.items():
            if min(own.silence, time - since) > self._early:
                return f"{self.name(rank)} ended early; this rank still waits for it"
        return ""

    def _deadlock(self, limit: Limit, unreachable: Set[int]) -> str:
        """All ranks inside MPI for too long, each waiting for another."""
        reports = [last.report for last in self._last.values()]
        if unreachable or len(reports) < len(self._hosts):
            return ""
        longest = limit.seconds + self._margin
        if all(report.waiting and report.silence > longest for report in reports):
            return (
                f"all ranks wait inside MPI, each for more than {limit.seconds:.0f} s "
                f"({limit.source})"
            )
        return ""
