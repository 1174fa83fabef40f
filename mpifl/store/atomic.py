"""A file is there whole or not at all: built in memory, written beside its place, synced, renamed.

Whoever opens the path sees the old file or the new one, after a kill, a crash or a full disk too.
Neither locks nor writes inside libhdf5 are needed: a rename works on every file system, and a
refused write is a plain OSError.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mpifl.store import checksum

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
"""Names of files in the making: left behind by a killed writer, safe to remove when no writer
lives.
"""

_NO_SYNC_OF_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}


class Refused(OSError):
    """The file system did not take a file, which its `filename` names: a full disk, a quota, a lost
    mount.
    """


def write(
    path: Path, data: bytes | memoryview, before_rename: Callable[[], None] | None = None
) -> None:
    """Put `data` at `path` atomically; `before_rename` may still refuse by raising.

    Raises Refused; what was at `path` before then still is.
    """
    _write(path, [data], before_rename)


def write_hdf5(
    path: Path, image: bytes | memoryview, before_rename: Callable[[], None] | None = None
) -> None:
    """Put an HDF5 image at `path` atomically, with its seal. Raises as `write` does."""
    end, _ = checksum.seal(checksum.blocks(image))
    _write(path, [image, end], before_rename)


def _write(
    path: Path, pieces: Sequence[bytes | memoryview], before_rename: Callable[[], None] | None
) -> None:
    with replacing(path, before_rename) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            for piece in pieces:
                _write_all(descriptor, piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def replacing(path: Path, before_rename: Callable[[], None] | None = None) -> Iterator[Path]:
    """A temporary path to fill, renamed to `path` if all goes well and removed if not. Raises as
    `write` does.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if before_rename is not None:
            before_rename()
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as problem:
        with suppress(OSError):  # never made, or the file system has gone
            temporary.unlink()
        if isinstance(problem, OSError):
            raise Refused(problem.errno, problem.strerror or str(problem), str(path)) from problem
        raise


def make_folder(path: Path) -> None:
    """Make `path` unless it is there; raises Refused."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as problem:
        raise Refused(problem.errno, problem.strerror, str(path)) from problem


def write_with_room(path: Path, data: bytes | memoryview, room: int) -> None:
    """Make `path` of `data` and reserve `room` bytes after it, for libhdf5 to fill.

    A full disk is then met here as an OSError, not inside libhdf5, which may crash on it.
    """
    with path.open("xb") as stream:
        os.posix_fallocate(stream.fileno(), 0, len(data) + room)
        stream.write(data)


def seal_hdf5(path: Path) -> tuple[int, int]:
    """Seal an HDF5 file that was made in place, and wait until it is on the disk; its size in bytes
    and its CRC-32.
    """
    with path.open("rb") as stream:
        end, crc = checksum.seal(iter(lambda: stream.read(checksum.BLOCK), b""))
    with path.open("ab", buffering=0) as stream:
        _write_all(stream.fileno(), end)
        os.fsync(stream.fileno())
        return stream.tell(), crc


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in _NO_SYNC_OF_FOLDERS:
            raise
    finally:
        os.close(descriptor)
