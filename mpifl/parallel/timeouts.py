"""How long ranks wait for each other, in seconds.

The environment variable MPIFL_TIMEOUTS changes them, for tests and for unusually slow clusters:
`MPIFL_TIMEOUTS="start=1200 beat=5"`. All ranks must have the same values.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Timeouts(NamedTuple):
    """The default values, each with what it is for."""

    start: float = 600.0
    """for MPI to start; without a limit, a rank would wait forever for one that never starts"""
    end: float = 600.0
    """for all ranks to end, after a rank's work is done"""
    connect: float = 5.0
    """for a worker to reach the server at one of its addresses"""
    beat: float = 1.0
    """between two heartbeats"""
    margin: float = 2.0
    """added to the timeout of a hung rank, so that it prints its stack before the others end it"""
    early: float = 10.0
    """to wait inside MPI for a rank that has ended already"""
    react: float = 1.5
    """for the main thread to notice that this process must end"""
    close: float = 2.0
    """for the main thread, once it has noticed, to close files and print what happened"""


def from_text(text: str) -> Timeouts:
    """The defaults, changed by assignments such as "start=3 beat=0.5".

    Raises ValueError for an unknown name or a value that is not a number.

    >>> from_text("start=3 beat=0.5")[:4]
    (3.0, 600.0, 5.0, 0.5)
    """
    values = {}
    for assignment in text.split():
        name, _, value = assignment.partition("=")
        if name not in Timeouts._fields:
            allowed = ", ".join(Timeouts._fields)
            raise ValueError(f"MPIFL_TIMEOUTS: got {name!r}; allowed: {allowed}")
        values[name] = float(value)
    return Timeouts(**values)


TIMEOUTS = from_text(os.environ.get("MPIFL_TIMEOUTS", ""))
