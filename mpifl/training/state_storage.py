"""Where clients' states are kept: in memory, or in a file that is mapped to it and may be larger.

Either way in slots that are used again. States kept as they come, each a piece of the heap, would
leave more and more holes in it (of 100 clients on one rank, 19 % more memory after 250 rounds than
after 20).
"""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
import weakref
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch

from mpifl.options import BadInput
from mpifl.store import Refused
from mpifl.training.messages import Vectors

_SEGMENT = 1 << 24  # bytes by which the storage grows, at least
_RESIDENT = 1 << 26  # bytes handed out after which the file's pages are let go of
_ALIGNED = 64  # bytes


class _Part(NamedTuple):
    """Where a vector lies in a slot."""

    start: int
    stop: int
    dtype: np.dtype
    shape: tuple[int, ...]


class Slots:
    """Slots of one size, each for a state like `like`; more are made as they are asked for.

    They are in memory, or with a `folder` in a file there. The file has no name: nothing of it is
    left when its process ends, however that ends. Room on the disk is reserved before it is mapped,
    so a full disk raises Refused, which names the folder, and is no bus error.
    """

    def __init__(self, folder: Path | None, like: Vectors) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._segments: list[tuple[mmap.mmap, np.ndarray]] = []
        self._parts: dict[str, _Part] = {}
        self._size = 0  # bytes of a slot
        for name, vector in like.items():
            stop = self._size + vector.nbytes
            self._parts[name] = _Part(self._size, stop, vector.numpy().dtype, vector.shape)
            self._size += _rounded_up(vector.nbytes, _ALIGNED)
        self._slots_in_segment = max(1, _SEGMENT // max(1, self._size))
        self._free: list[int] = []
        self._handed_out = 0

    def allocate(self) -> int:
        """The number of a free slot, which is free no more."""
        if not self._free:
            first = len(self._segments) * self._slots_in_segment
            self._grow()
            self._free = list(range(first + self._slots_in_segment - 1, first - 1, -1))
        return self._free.pop()

    def free(self, slot: int) -> None:
        """Let the slot be used again."""
        self._free.append(slot)

    def read(self, slot: int) -> Vectors:
        """The state in a slot, as views; of a file, it is read when it is looked at."""
        self._handed_out += self._size
        if self._folder is not None and self._handed_out > _RESIDENT:
            self._handed_out = 0
            for mapped, _ in self._segments:
                mapped.madvise(mmap.MADV_DONTNEED)  # the file keeps what was written
        segment, number = divmod(slot, self._slots_in_segment)
        memory = self._segments[segment][1][number * self._size :]
        state = {}
        for name, part in self._parts.items():
            values = memory[part.start : part.stop].view(part.dtype).reshape(part.shape)
            state[name] = torch.from_numpy(values)
        return state

    def write(self, slot: int, state: Vectors) -> None:
        """Put a copy of `state` into a slot."""
        assert state.keys() == self._parts.keys(), f"{list(state)} where {list(self._parts)} are"
        for name, vector in self.read(slot).items():
            vector.copy_(state[name])

    def _grow(self) -> None:
        length = _rounded_up(self._slots_in_segment * self._size, mmap.ALLOCATIONGRANULARITY)
        if self._folder is None:
            mapped = mmap.mmap(-1, length)
        else:
            mapped = self._map_more_of_the_file(self._folder, length)
        self._segments.append((mapped, np.frombuffer(mapped, np.uint8)))

    def _map_more_of_the_file(self, folder: Path, length: int) -> mmap.mmap:
        start = len(self._segments) * length
        try:
            if self._file is None:
                self._file = _unnamed_file(folder)
                weakref.finalize(self, self._file.close)
            os.posix_fallocate(self._file.fileno(), start, length)
            return mmap.mmap(self._file.fileno(), length, offset=start)
        except OSError as problem:
            raise Refused(problem.errno, problem.strerror, str(folder)) from problem


class StoredStates(MutableMapping[int, Vectors]):
    """Client -> state, in slots; what is read are views, and what is set is copied."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._slot_of: dict[int, int] = {}

    def __getitem__(self, client: int) -> Vectors:
        return self._slots.read(self._slot_of[client])

    def __setitem__(self, client: int, state: Vectors) -> None:
        if client not in self._slot_of:
            self._slot_of[client] = self._slots.allocate()
        self._slots.write(self._slot_of[client], state)

    def __delitem__(self, client: int) -> None:
        self._slots.free(self._slot_of.pop(client))

    def __contains__(self, client: object) -> bool:
        return client in self._slot_of

    def __iter__(self) -> Iterator[int]:
        return iter(self._slot_of)

    def __len__(self) -> int:
        return len(self._slot_of)

    def take_all(self, others: StoredStates) -> None:
        """Move all of `others`, of the same slots, here: no state is copied."""
        for client in self._slot_of.keys() & others._slot_of.keys():
            del self[client]
        self._slot_of |= others._slot_of
        others._slot_of = {}


def refuse_unusable(folder: Path) -> None:
    """BadInput where no file can be made in `folder`."""
    try:
        _unnamed_file(folder).close()
    except OSError as problem:
        raise BadInput(
            f"runtime.states_folder: expected a folder in which {socket.gethostname()} can make "
            f"files; got {str(folder)!r} ({problem.strerror}); make it first, or leave the option "
            "empty to use memory"
        ) from problem


def _unnamed_file(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - for as long as the slots


def _rounded_up(size: int, unit: int) -> int:
    """`size`, up to a whole number of units."""
    return -(-size // unit) * unit
