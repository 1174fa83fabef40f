"""How many lanes a rank has room for: cores, or memory of its GPU."""

from __future__ import annotations

import math
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
        self._workers = max(1, workers)
        self._cores = communicator.cores

    def beside(self, lanes: int) -> int:
        """The most lanes, at least one; `lanes` are those that the rank has now."""
        if self._device.type == "cpu":
            cores = min(len(os.sched_getaffinity(0)), self._cores // self._workers)
            return max(1, cores // torch.get_num_threads())
        sharing = math.ceil(self._workers / torch.cuda.device_count())
        free, _ = torch.cuda.mem_get_info(self._device)
        memory = torch.cuda.memory_reserved(self._device) + free // sharing
        return lanes_in_memory(memory, torch.cuda.max_memory_allocated(self._device), lanes)


def lanes_in_memory(memory: int, peak: int, lanes: int) -> int:
    """How many lanes so many bytes are enough for, where `lanes` took `peak` bytes, data included.

    >>> lanes_in_memory(100, 21, 2), lanes_in_memory(100, 60, 2), lanes_in_memory(100, 99, 1)
    (8, 3, 1)
    """
    return max(lanes, int(_MARGIN * memory / peak * lanes))
