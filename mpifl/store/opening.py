"""Opening the HDF5 files of a run: sound, of the right kind and of a known version; all else is
BadInput.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mpifl.options import BadInput
from mpifl.store import checksum

_DAMAGE = (OSError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError)
_KINDS = {
    "mpifl-run": "a run",
    "mpifl-model": "the weights of one round; give the run's folder",
    "mpifl-checkpoint": "a part of a checkpoint",
    "mpifl-hessian": "findings about a run",
    "mpifl-hessian-vectors": "long vectors found about a run",
    "mpifl-data": "a data set",
}


@contextmanager
def opened(file: Path, expected: str, format: str, version: int) -> Iterator[h5py.File]:
    """The file of that `format`, `version` or older, to be read; `expected` says in words what it
    should be.

    Whatever is wrong with it, now or while it is read in the `with` block, is BadInput.
    """
    try:
        with checksum.opened(file) as content:
            _check(content.attrs, format, version)
            yield content
    except checksum.Unsound as problem:
        raise BadInput(f"{file}: expected {expected}; got {problem.what}") from problem
    except BadInput:
        raise
    except _Foreign as problem:
        raise BadInput(f"{file}: expected {expected}; got {problem}") from None
    except _DAMAGE as problem:
        got = (
            getattr(problem, "strerror", None)
            or f"one of another layout ({' '.join(str(problem).split())})"
        )
        raise BadInput(f"{file}: expected {expected}; got {got}") from problem


class _Foreign(Exception):
    """A sound file of another kind or version."""


def _check(attrs: h5py.AttributeManager, format: str, version: int) -> None:
    found = attrs.get("format")
    if not isinstance(found, str) or found != format:
        raise _Foreign(_KINDS.get(str(found), "an HDF5 file of another kind"))
    if attrs["format_version"] > version:
        by = f"{attrs['format_version']}, written by mpifl {attrs.get('softwareVersion')}"
        raise _Foreign(f"format version {by}, where {version} is the newest known; update mpifl")
