"""What an HDF5 file without mpifl's checksums is: cut short, edited, or another program's.

Only its first bytes are understood, and the rest is searched for a name: libhdf5 may hang or crash
on a damaged file.
"""

from __future__ import annotations

import io
import os
import struct
from enum import Enum

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FORMATS_BEGIN = b"mpifl-"
"""the beginning of the attribute `format` of all files of mpifl"""
_PIECE = 1 << 20
_PLACE_OF_SIZE = {0: 40, 1: 44, 2: 28, 3: 28}
"""by version of the superblock: where the file's size is, if offsets have 8 bytes"""


class Kind(Enum):
    """What a file is, in words."""

    EMPTY = "an empty file"
    OTHER = "something else than an HDF5 file"
    CUT = "an HDF5 file cut short"
    ENDLESS = "an HDF5 file damaged or cut short at its end"
    EDITED = "a file edited or opened for writing by another program since mpifl wrote it"
    FOREIGN = "an HDF5 file of another program"


def kind(file: io.FileIO) -> Kind:
    """What a file is that does not end in mpifl's checksums."""
    start = os.pread(file.fileno(), 64, 0)
    if not start:
        return Kind.EMPTY
    if not start.startswith(SIGNATURE):
        return Kind.CUT if SIGNATURE.startswith(start) else Kind.OTHER
    size = os.fstat(file.fileno()).st_size
    end = image_size(file)
    if end is None or not 64 <= end <= size:
        return Kind.CUT
    if not _is_of_mpifl(file):
        return Kind.FOREIGN
    return Kind.EDITED if size == end else Kind.ENDLESS


def image_size(file: io.FileIO) -> int | None:
    """The size in bytes that an HDF5 file says it has; None if that cannot be read."""
    start = os.pread(file.fileno(), 64, 0)
    if len(start) < 64 or start[8] not in _PLACE_OF_SIZE:
        return None
    (size,) = struct.unpack_from("<Q", start, _PLACE_OF_SIZE[start[8]])
    return size


def _is_of_mpifl(file: io.FileIO) -> bool:
    before = b""
    offset = 0
    while piece := os.pread(file.fileno(), _PIECE, offset):
        if _FORMATS_BEGIN in before + piece:
            return True
        before = piece[-len(_FORMATS_BEGIN) :]
        offset += len(piece)
    return False
