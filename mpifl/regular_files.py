"""Open regular files only: reading a pipe may wait for ever, and a device may have no end."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def opened(path: Path | str) -> io.FileIO:
    """A regular file, open for reading. Raises OSError for anything else, without waiting."""
    return io.FileIO(path, "r", opener=_open)


def content(path: Path | str, most_bytes: int) -> bytes:
    """The bytes of a regular file. Raises OSError for anything else, and for more than so many."""
    with io.BufferedReader(opened(path)) as file:
        found = file.read(most_bytes + 1)
    if len(found) > most_bytes:
        raise OSError(errno.EFBIG, f"a file of more than {most_bytes} bytes", str(path))
    return found


def _open(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind == stat.S_IFREG:
        return descriptor
    os.close(descriptor)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    what = _KINDS.get(kind, "something else")
    raise OSError(errno.EINVAL, f"{what}, not a regular file", path)
