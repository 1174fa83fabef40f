"""Whether a waiting server takes time from the clients: two workers and rank 0 on two cores."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.pairs import Pairs, Times
from benchmarks.report import Row


def waiting() -> list[Row]:
    """two workers train on two cores while rank 0 waits, against the same while it sleeps"""
    found = _measure(turns=15)
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


def _measure(turns: int) -> dict:
    """What `benchmarks.ranks` prints on three ranks, started by the mpirun beside this Python, or
    by that of the PATH.
    """
    beside = Path(sys.executable).parent / "mpirun"
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun") or "mpirun"
    command = [mpirun, "-n", "3", sys.executable, "-m", "benchmarks.ranks", str(turns)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])
