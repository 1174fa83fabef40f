"""Open a run's HDF5 files and check them: format, version, and arrays that fit each other.

Everything else is BadInput, in one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpifl.options import BadInput
from mpifl.store import checksum
from mpifl.store.round_tables import Cohorts

_DAMAGE = (
    OSError,
    KeyError,
    IndexError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    MemoryError,
)
"""what reading a damaged file may raise"""
_FORMATS = {
    "mpifl-run": "a run",
    "mpifl-model": "the weights of one round; give the run's folder",
    "mpifl-checkpoint": "a part of a checkpoint",
    "mpifl-hessian": "findings about a run",
    "mpifl-hessian-vectors": "long vectors found about a run",
    "mpifl-data": "a data set",
}
_TEXTS = ("config", "status", "run_id", "created", "updated", "software", "softwareVersion")
Lengths = tuple[int | None, ...]
"""of an array's axes; None for any"""


@contextmanager
def opened(file: Path, expected: str, file_format: str, version: int) -> Iterator[h5py.File]:
    """A file of this format, of `version` or older, open for reading.

    Raises BadInput for any other file, and for damage found later, inside the `with` block.
    `expected` says in words what the file should be.
    """
    try:
        with checksum.opened(file) as content:
            _check_format(content.attrs, file_format, version)
            yield content
    except checksum.EditedFile as problem:
        raise BadInput(
            f"{file}: expected {expected}; got {problem.what}; {problem.remedy}"
        ) from problem
    except checksum.InvalidFile as problem:
        raise BadInput(f"{file}: expected {expected}; got {problem.what}") from problem
    except BadInput:
        raise
    except _AnotherFormat as problem:
        raise BadInput(f"{file}: expected {expected}; got {problem}") from None
    except _DAMAGE as problem:
        raise BadInput(f"{file}: expected {expected}; got {_described(problem)}") from problem


def check_run(
    attrs: Mapping[str, Any],
    partition: Mapping[str, np.ndarray],
    rounds: Mapping[str, np.ndarray],
    cohorts: Cohorts,
) -> None:
    """Raise ValueError naming the first part of a run that does not fit the others."""
    for name in _TEXTS:
        if not isinstance(attrs.get(name), str):
            raise ValueError(f"{name} is {attrs.get(name)!r}")
    if not isinstance(attrs.get("seed"), int):
        raise ValueError(f"seed is {attrs.get('seed')!r}")
    _check_partition(partition)
    _check_rounds(rounds)
    _check_cohorts(cohorts, len(rounds["round"]))
    in_order = (np.diff(rounds["round"]) > 0).all()
    known = np.isin(cohorts.ids, np.arange(cohorts.clients)).all()
    if not in_order or not known:
        raise ValueError("rounds or clients are not in their order")


def check_array(name: str, array: Any, kinds: str, lengths: Lengths) -> None:
    """Raise ValueError unless `array` has these lengths and a dtype of these kinds: "if" ..."""
    if not _fits(array, kinds, lengths):
        raise ValueError(f"{name} is {getattr(array, 'dtype', array)!s} {list(np.shape(array))}")


class _AnotherFormat(Exception):
    """An intact file of another format or version."""


def _check_format(attrs: h5py.AttributeManager, file_format: str, version: int) -> None:
    found = attrs.get("format")
    if not isinstance(found, str) or found != file_format:
        raise _AnotherFormat(_FORMATS.get(str(found), "an HDF5 file of another kind"))
    if attrs["format_version"] > version:
        raise _AnotherFormat(
            f"format version {attrs['format_version']}, "
            f"written by mpifl {attrs.get('softwareVersion')}, "
            f"where {version} is the newest known; update mpifl"
        )


def _described(problem: Exception) -> str:
    reason = getattr(problem, "strerror", None)
    if reason:
        return reason
    return f"one of another layout ({' '.join(str(problem).split())})"


def _check_partition(partition: Mapping[str, np.ndarray]) -> None:
    indices = partition["indices"]
    offsets = partition["offsets"]
    clients = len(offsets) - 1
    check_array("partition/indices", indices, "i", (None,))
    check_array("partition/offsets", offsets, "i", (clients + 1,))
    check_array("partition/label_counts", partition["label_counts"], "i", (clients, None))
    _check_offsets("partition/offsets", offsets, len(indices))


def _check_rounds(rounds: Mapping[str, np.ndarray]) -> None:
    check_array("rounds/round", rounds["round"], "i", (None,))
    for name, column in rounds.items():
        kinds = "O" if name == "sha256" else "ifO"
        check_array(f"rounds/{name}", column, kinds, (len(rounds["round"]),))


def _check_cohorts(cohorts: Cohorts, rounds: int) -> None:
    check_array("clients/cohort", cohorts.ids, "i", (None,))
    check_array("clients/offsets", cohorts.offsets, "i", (rounds + 1,))
    for name, values in cohorts.reported.items():
        check_array(f"clients/{name}", values, "f", (len(cohorts.ids),))
    _check_offsets("clients/offsets", cohorts.offsets, len(cohorts.ids))


def _check_offsets(name: str, offsets: np.ndarray, end: int) -> None:
    from_start_to_end = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == end
    if not from_start_to_end or (np.diff(offsets) < 0).any():
        raise ValueError(f"{name} do not lead from 0 to {end}")


def _fits(array: Any, kinds: str, lengths: Lengths) -> bool:
    if not isinstance(array, np.ndarray):
        return False
    if array.dtype.kind not in kinds or array.ndim != len(lengths):
        return False
    for length, expected in zip(array.shape, lengths, strict=True):
        if expected is not None and length != expected:
            return False
    return True
