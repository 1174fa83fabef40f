"""Whether libhdf5 can read all of a file that has no checksums. Run in a process of its own.

libhdf5 may hang or crash on a damaged file; then only that process does, and `check` says so.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py

from mpifl.options import BadInput

_SECONDS = 60.0
_SECONDS_PER_BYTE = 1e-7
_PIECE = 1 << 24
"""elements read at a time"""
_PROBLEM = 3
"""exit code for a problem that libhdf5 tells of"""


def check(file: Path) -> None:
    """Raise BadInput unless libhdf5 can read every attribute and every array of a file.

    Arrays that are kept in other files are refused too.
    """
    seconds = _SECONDS + _SECONDS_PER_BYTE * file.stat().st_size
    command = [sys.executable, "-m", "mpifl.store.readable", str(file.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise _refusal(file, f"one that takes libhdf5 more than {seconds:.0f} s") from None
    if done.returncode == _PROBLEM:
        raise _refusal(file, done.stdout.strip())
    if done.returncode != 0:
        raise _refusal(file, f"one that makes libhdf5 fail (exit code {done.returncode})")


def _refusal(file: Path, found: str) -> BadInput:
    return BadInput(f"{file}: expected an HDF5 file that can be read whole; got {found}")


def _problem(path: str) -> str:
    """What keeps a file from being read; "" if nothing does."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            for item in _items(file):
                _read(item)
    except Exception as problem:  # whatever it is, it is told
        return f"one with a damaged part: {' '.join(str(problem).split())}"
    return ""


def _items(file: h5py.File) -> Iterator[h5py.Group | h5py.Dataset]:
    """All groups and arrays, each once; links to other files are not followed."""
    found: list[h5py.Group | h5py.Dataset] = [file]
    file.visititems(lambda name, item: found.append(item))
    return iter(found)


def _read(item: h5py.Group | h5py.Dataset) -> None:
    for name in item.attrs:
        item.attrs[name]
    if not isinstance(item, h5py.Dataset):
        return
    if item.is_virtual or item.external:
        raise ValueError(f"{item.name} is kept in other files")
    if item.ndim == 0:
        item[()]
        return
    rows_at_a_time = max(1, _PIECE * len(item) // max(1, item.size))
    for start in range(0, len(item), rows_at_a_time):
        item[start : start + rows_at_a_time]


if __name__ == "__main__":
    found = _problem(sys.argv[1])
    if found:
        print(found)
        sys.exit(_PROBLEM)
