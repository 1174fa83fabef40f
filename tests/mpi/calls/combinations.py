"""Combinations of choices, trained on all ranks."""

from __future__ import annotations

from unittest.mock import patch

from matrix import Choice, train

from mpifl.models.resnet56 import ResNet20
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


def train_all_shallow(communicator: Communicator, choices: list[Choice]) -> int:
    """As `train_all`, but ResNet-20 has one block a stage, which takes half the time.

    Its other blocks, which pass their input on, meet every loss in `training/test_replay.py`.
    """
    with patch.object(ResNet20, "depth", 1):
        return train_all(communicator, choices)
