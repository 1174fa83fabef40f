"""Where clients' states are kept: in memory, or in a file that is mapped to memory and may be
larger than it.

Either way in places that are used again: states kept as they come, each a piece of the heap, would
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

import numpy as np
import torch

from mpifl.options import BadInput
from mpifl.parallel.exact_sum import Message
from mpifl.store import Refused

State = Message

_SEGMENT = 1 << 24  # bytes by which the file grows, at least
_RESIDENT = 1 << 26  # bytes handed out after which the pages are let go of
_ALIGNED = 64  # bytes


class Shelf:
    """Places of one size, each for a state like `like`; more are made as they are asked for.

    They are in memory, or with a `folder` in a file there. It has no name: nothing of it is left
    when its process ends, however that ends. Room on the disk is reserved before it is mapped, so a
    full disk is Refused, which names the folder, not a bus error.
    """

    def __init__(self, folder: Path | None, like: State) -> None:
        self.folder = folder
        self._file = None
        self._segments: list[tuple[mmap.mmap, np.ndarray]] = []
        self._parts, self._size = {}, 0
        for name, vector in like.items():
            self._parts[name] = (
                self._size,
                self._size + vector.nbytes,
                vector.numpy().dtype,
                vector.shape,
            )
            self._size += -(-vector.nbytes // _ALIGNED) * _ALIGNED
        self._a_segment = max(1, _SEGMENT // max(1, self._size))  # places
        self._free: list[int] = []
        self._handed_out = 0

    def take(self) -> int:
        """The number of a place that is free, and then is not."""
        if not self._free:
            first = len(self._segments) * self._a_segment
            self._grow()
            self._free = list(range(first + self._a_segment - 1, first - 1, -1))
        return self._free.pop()

    def give(self, place: int) -> None:
        """Free a place."""
        self._free.append(place)

    def read(self, place: int) -> State:
        """The state at a place, as views: of a file, it is read when it is looked at."""
        self._handed_out += self._size
        if self.folder and self._handed_out > _RESIDENT:
            self._handed_out = 0
            for mapped, _ in self._segments:
                # the file keeps what was written; memory need not
                mapped.madvise(mmap.MADV_DONTNEED)
        segment, number = divmod(place, self._a_segment)
        room = self._segments[segment][1][number * self._size :]
        return {
            name: torch.from_numpy(room[start:stop].view(dtype).reshape(shape))
            for name, (start, stop, dtype, shape) in self._parts.items()
        }

    def write(self, place: int, state: State) -> None:
        """Put a copy of `state` at a place."""
        assert state.keys() == self._parts.keys(), (
            f"{list(state)} where {list(self._parts)} are kept"
        )
        for name, vector in self.read(place).items():
            vector.copy_(state[name])

    def _grow(self) -> None:
        length = (
            -(-self._a_segment * self._size // mmap.ALLOCATIONGRANULARITY)
            * mmap.ALLOCATIONGRANULARITY
        )
        mapped = self._more_of_the_file(length) if self.folder else mmap.mmap(-1, length)
        self._segments.append((mapped, np.frombuffer(mapped, np.uint8)))

    def _more_of_the_file(self, length: int) -> mmap.mmap:
        start = len(self._segments) * length
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - for as long as the shelf
                weakref.finalize(self, self._file.close)
            os.posix_fallocate(self._file.fileno(), start, length)
            return mmap.mmap(self._file.fileno(), length, offset=start)
        except OSError as problem:
            raise Refused(problem.errno, problem.strerror, str(self.folder)) from problem


class Shelved(MutableMapping[int, State]):
    """Client -> state, on a shelf; what is read are views, and what is set is copied."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._places = shelf, {}

    def __getitem__(self, client: int) -> State:
        return self._shelf.read(self._places[client])

    def __setitem__(self, client: int, state: State) -> None:
        if client not in self._places:
            self._places[client] = self._shelf.take()
        self._shelf.write(self._places[client], state)

    def __delitem__(self, client: int) -> None:
        self._shelf.give(self._places.pop(client))

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def take(self, others: Shelved) -> None:
        """Move all of `others`, on the same shelf, here: no state is copied."""
        for client in self._places.keys() & others._places.keys():
            del self[client]
        self._places |= others._places
        others._places = {}


def refuse_unusable(folder: Path) -> None:
    """BadInput where no file can be made in `folder`."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as problem:
        raise BadInput(
            f"runtime.states_folder: expected a folder in which {socket.gethostname()} can make files; got "
            f"{str(folder)!r} ({problem.strerror}); make it first, or leave the option empty to use memory"
        ) from problem
