"""Combinations of choices, trained on all ranks."""

from __future__ import annotations

from matrix import Choice, train

from mpifl.parallel.communicator import Communicator


def train_all(communicator: Communicator, choices: list[Choice]) -> int:
    """Train one after the other; how many there were."""
    for choice in choices:
        try:
            train(choice, communicator=communicator)
        except BaseException as error:
            error.add_note("; ".join(choice.values()))
            raise
    return len(choices)
