"""A file that several processes, on any nodes, add to at the same time. Nothing is lost.

No locks are used: file systems of clusters do not all have them, and a killed process would keep
one. A rename moves a file for one process only, and a hard link never replaces a file; both hold on
NFS and Lustre. To add to `hessian.h5`, a process

1. takes the file and its parts: it renames each to a new name, `hessian.1a2b3c4d5e6f7081.h5`;
2. reads them, and writes a temporary file with all that they hold and with what it adds;
3. links the temporary file to `hessian.h5`, and removes what it took;
4. if another process has put a `hessian.h5` there meanwhile, keeps its own as a part, and retries
   a few times.

At every moment each finding is in `hessian.h5` or in a part, also after a kill. So readers read the
file and its parts; the next process that adds makes one file of them.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mpifl.store import atomic

_ATTEMPTS_TO_READ = 20
_PAUSE = 0.01
"""seconds between them"""
_ATTEMPTS_TO_GATHER = 3
"""to have one file at the end of an addition; else parts stay, for the next addition"""
_GONE = {errno.ENOENT, errno.ESTALE}
"""errors of a file that another process has taken or removed"""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""errors of file systems without hard links"""

Content = TypeVar("Content")
Version = tuple[int, int, int]
"""inode, time and size of a file: a rename keeps them, a replaced file has others"""


def is_part(name: str, of: str) -> bool:
    """Whether a file of this name is a part of the file named `of`.

    >>> is_part("hessian.1a2b3c4d5e6f7081.h5", "hessian.h5")
    True
    """
    stem, suffix = os.path.splitext(of)
    return re.fullmatch(rf"{re.escape(stem)}\.[0-9a-f]{{16}}{re.escape(suffix)}", name) is not None


class SharedFile:
    """The file at `path` and its parts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> list[Path]:
        """The file, if it is there, and its parts."""
        found = [self.path] if self.path.exists() else []
        with suppress(OSError):  # no folder, or one that may not be listed
            for name in sorted(os.listdir(self.path.parent)):
                if is_part(name, self.path.name):
                    found.append(self.path.with_name(name))
        return found

    def read(self, read_one: Callable[[Path], Content]) -> Mapping[Path, Content]:
        """What `read_one` makes of each file, while others may write. Raises as `read_one` does."""
        contents: dict[Path, Content] = {}
        for _ in range(_ATTEMPTS_TO_READ):
            files = self.files()
            try:
                contents = {file: read_one(file) for file in files}
            except Exception:
                if all(file.exists() for file in files):
                    raise
            else:
                if self.files() == files:
                    return contents
            time.sleep(_PAUSE)
        return contents

    def add(
        self,
        read_one: Callable[[Path], Content],
        merge: Callable[[list[Content]], memoryview],
    ) -> Version | None:
        """Replace the file and its parts by one HDF5 file. Returns that file's version.

        `merge` is given what `read_one` makes of each, and returns the image of the new file. It is
        called again if another process adds at the same time. If one of them raises, or the new
        file cannot be written (atomic.Refused), all files stay.
        """
        written = None
        for _ in range(_ATTEMPTS_TO_GATHER):
            taken = self._take()
            part = self._new_part()
            try:
                contents = _read_those_left(taken, read_one)
                atomic.write_hdf5(part, merge(list(contents.values())))
            except BaseException:
                self._put_back(taken)
                raise
            written = version(part)
            for file in contents:
                with suppress(OSError):  # another process has taken it, with the same content
                    file.unlink()
            if self._publish(part):
                break
        return written

    def _take(self) -> list[Path]:
        """Rename the file and its parts to new parts, which this process alone knows at first."""
        taken = []
        for file in self.files():
            part = self._new_part()
            try:
                os.rename(file, part)
            except OSError as problem:
                if problem.errno not in _GONE:
                    raise atomic.Refused(problem.errno, problem.strerror, str(file)) from problem
            else:
                taken.append(part)
        return taken

    def _publish(self, part: Path) -> bool:
        """Give a part the name `path`. Returns False if another file has it: merge again.

        On file systems without hard links it stays a part, which is read like the file.
        """
        try:
            os.link(part, self.path)
            part.unlink()
        except FileExistsError:
            return False
        except OSError as problem:
            if problem.errno not in _NO_LINKS | _GONE:
                raise atomic.Refused(problem.errno, problem.strerror, str(self.path)) from problem
        else:
            atomic.sync_folder(self.path.parent)
        return True

    def _put_back(self, taken: list[Path]) -> None:
        """Give one of the taken files the name `path`, unless another has it.

        The rest stay parts.
        """
        for file in taken:
            with suppress(OSError):
                os.link(file, self.path)
                file.unlink()
                return

    def _new_part(self) -> Path:
        name = f"{self.path.stem}.{secrets.token_hex(8)}{self.path.suffix}"
        return self.path.with_name(name)


def _read_those_left(taken: list[Path], read_one: Callable[[Path], Content]) -> dict[Path, Content]:
    """What `read_one` makes of each file that no other process has taken meanwhile."""
    contents = {}
    for file in taken:
        try:
            contents[file] = read_one(file)
        except Exception:
            if file.exists():
                raise
    return contents


def version(file: Path) -> Version | None:
    """The version of a file; None if there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
