"""A client's row of figures in a round: its columns, and what can go wrong with a client."""

from __future__ import annotations

from enum import IntEnum


class Column(IntEnum):
    """A place in a client's row of figures."""

    WEIGHT = 0
    SAMPLES = 1
    STEPS = 2
    LOSS = 3
    ACCURACY = 4
    SECONDS = 5
    FAILED = 6
    """a Failure"""
    TEST_ACCURACY = 7
    OWN_RIGHT_BEFORE = 8
    """samples of its own test set that the model it is sent classifies right"""
    OWN_RIGHT_AFTER = 9
    """those that its model classifies right after its training"""


COLUMNS = tuple(column.name.lower() for column in Column)
"""their names, as they are stored"""


class Failure(IntEnum):
    """What went wrong with a client."""

    NONE = 0
    LOSS_NOT_FINITE = 1
    REPLY_OUT_OF_RANGE = 2
    """its reply is not finite, or too large to be added"""
    LATE = 3
    """it is a straggler, and `heterogeneity.late` is drop: it was not played"""

    @property
    def reason(self) -> str:
        """What went wrong, as a part of a sentence; empty for NONE."""
        return _REASONS[self]


_REASONS = {
    Failure.NONE: "",
    Failure.LOSS_NOT_FINITE: "its training loss is not finite",
    Failure.REPLY_OUT_OF_RANGE: "its reply is not finite or far too large",
    Failure.LATE: "its reply comes too late",
}
