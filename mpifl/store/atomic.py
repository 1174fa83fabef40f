"""Atomic writes: a file is written under a temporary name, synced to the disk, then renamed.

Whoever opens the path sees the old file or the new one, also after a kill, a crash or a full disk.
No file locks are needed: a rename is atomic on every file system. HDF5 files are built in memory
first, so that a full disk is a plain OSError and not a crash inside libhdf5. They are made
read-only, so that no program opens them for writing by mistake, which would cut off their checksums
(pandas and h5py's mode "a" do); they can be read, replaced and removed as before.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mpifl.store import checksum

Check = Callable[[], None]
"""called just before a rename; refuses it by raising"""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
"""names of temporary files; a killed writer leaves them, and the next writer may remove them"""

_NO_SYNC_OF_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}
"""errors of file systems that cannot sync a folder"""


class Refused(OSError):
    """The file system refused a file, named by `filename`: full disk, quota, lost mount."""


def write(path: Path, data: bytes | memoryview, check: Check | None = None) -> None:
    """Write `data` to `path` atomically. Raises Refused; the old file then stays."""
    _write(path, [data], check)


def write_hdf5(path: Path, image: bytes | memoryview, check: Check | None = None) -> None:
    """Write an HDF5 image and its checksums to `path` atomically.

    Raises Refused; the old file then stays.
    """
    trailer, _ = checksum.make_trailer(checksum.blocks(image))
    _write(path, [image, trailer], check, read_only=True)


@contextmanager
def replacing(path: Path, check: Check | None = None) -> Iterator[Path]:
    """A temporary path to write to. It is renamed to `path` at the end, and removed after an error.

    Raises Refused; the old file then stays.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if check is not None:
            check()
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as problem:
        with suppress(OSError):  # never made, or the file system is gone
            temporary.unlink()
        if isinstance(problem, OSError):
            raise Refused(problem.errno, problem.strerror or str(problem), str(path)) from problem
        raise


def make_folder(path: Path) -> None:
    """Make the folder `path` unless it exists. Raises Refused."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as problem:
        raise Refused(problem.errno, problem.strerror, str(path)) from problem


def create_with_room(path: Path, data: bytes | bytearray | memoryview, room: int) -> None:
    """Create `path` with `data`, and reserve `room` bytes more on the disk for libhdf5 to fill.

    A full disk then raises OSError here. Inside libhdf5 it may end in a crash.
    """
    with path.open("xb") as stream:
        os.posix_fallocate(stream.fileno(), 0, len(data) + room)
        stream.write(data)


def append_trailer(path: Path) -> tuple[int, int]:
    """Append the checksums to an HDF5 file that was written in place, and sync it to the disk.

    The file is made read-only. Returns its size in bytes and the CRC-32 of its checksums.
    """
    with path.open("rb") as stream:
        trailer, crc32 = checksum.make_trailer(iter(lambda: stream.read(checksum.BLOCK), b""))
    with path.open("ab", buffering=0) as stream:
        _write_all(stream.fileno(), trailer)
        _make_read_only(stream.fileno())
        os.fsync(stream.fileno())
        return stream.tell(), crc32


def _write(
    path: Path,
    pieces: Sequence[bytes | memoryview],
    check: Check | None,
    read_only: bool = False,
) -> None:
    with replacing(path, check) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            for piece in pieces:
                _write_all(descriptor, piece)
            if read_only:
                _make_read_only(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _make_read_only(descriptor: int) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    with suppress(OSError):  # some file systems have no permissions
        os.fchmod(descriptor, mode & ~0o222)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    rest = memoryview(data).cast("B")
    while rest:
        written = os.write(descriptor, rest)
        rest = rest[written:]


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in _NO_SYNC_OF_FOLDERS:
            raise
    finally:
        os.close(descriptor)
