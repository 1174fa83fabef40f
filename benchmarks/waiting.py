"""Whether a waiting server takes time from the clients: two workers and rank 0 on two cores."""

from __future__ import annotations

import numpy as np

from benchmarks.on_ranks import on_ranks
from benchmarks.pairs import Pairs, Times
from benchmarks.report import Row


def waiting() -> list[Row]:
    """two workers train on two cores while rank 0 waits, against the same while it sleeps"""
    found = on_ranks(3, "benchmarks.ranks", 15)
    away = [_times(slowest) for slowest, _ in found["away"]]
    rows = []
    for name, server, bar in (
        ("arrive", "arrive()", 1.03),
        ("spinning", "MPI's own barrier", None),
    ):
        pairs = Pairs([_times(slowest) for slowest, _ in found[name]], away)
        share = np.median([cpu / wall for _, (wall, cpu) in found[name]])
        rows.append(
            Row.of(f"server in {server} / away", pairs, bar, f"server's CPU: {share:.1%} of a core")
        )
    whole = Pairs()
    for round_seconds, training_seconds in found["rounds"]:
        whole.ours.append(Times(round_seconds, round_seconds))
        whole.other.append(Times(training_seconds, training_seconds))
    return [*rows, Row.of("whole round / its slowest worker's training", whole)]


def _times(pair: list[float]) -> Times:
    return Times(*pair)
