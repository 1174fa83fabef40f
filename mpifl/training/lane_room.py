"""How many lanes a rank has room for: cores, or memory of its GPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator

_MARGIN = 0.9
"""of the memory: the rest is for blocks between others that nothing fits into"""


class LaneRoom:
    """Says how many lanes this rank has room for; every rank makes one at the same time."""

    def __init__(self, communicator: Communicator, device: torch.device) -> None:
        self._device = device
        _, workers = communicator.worker_on_node()
        self._cores = communicator.cores // max(1, workers)
        """of this node for each of its workers"""
        gpus = communicator.node.allgather(_card(device))
        self._sharing = gpus.count(_card(device))
        """how many ranks of this node compute on this rank's GPU"""

    def most(self, made: int) -> int:
        """The most lanes, at least one; so many were made so far."""
        if self._device.type == "cpu":
            cores = min(len(os.sched_getaffinity(0)), self._cores)
            return max(1, cores // torch.get_num_threads())
        free, _ = torch.cuda.mem_get_info(self._device)
        own = torch.cuda.memory_reserved(self._device)
        taken = torch.cuda.max_memory_reserved(self._device)
        return lanes_in_memory(own + free // self._sharing, taken, max(1, made))


def _card(device: torch.device) -> str:
    """What tells a GPU from the others of its node, whichever of them a rank sees."""
    if device.type == "cpu":
        return ""
    properties = torch.cuda.get_device_properties(device)
    return str(getattr(properties, "uuid", device))  # old versions of torch know none


def lanes_in_memory(memory: int, taken: int, lanes: int) -> int:
    """How many lanes so many bytes are enough for, where `lanes` have taken some, data included.

    >>> lanes_in_memory(100, 21, 2), lanes_in_memory(100, 60, 2), lanes_in_memory(100, 99, 1)
    (8, 3, 1)
    """
    return max(lanes, int(_MARGIN * memory / taken * lanes))
