"""Opening the HDF5 files of a run: sound, of the right kind and version, with arrays that fit each
other.
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

_DAMAGE = (OSError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError)
_KINDS = {
    "mpifl-run": "a run",
    "mpifl-model": "the weights of one round; give the run's folder",
    "mpifl-checkpoint": "a part of a checkpoint",
    "mpifl-hessian": "findings about a run",
    "mpifl-hessian-vectors": "long vectors found about a run",
    "mpifl-data": "a data set",
}
_TEXTS = ("config", "status", "run_id", "created", "updated", "software", "softwareVersion")
Lengths = tuple[int | None, ...]


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


def refuse(
    attrs: Mapping[str, Any], arrays: Mapping[str, np.ndarray], rounds: Mapping, cohorts: Cohorts
) -> None:
    """Raise ValueError naming what does not fit in a run's attributes, partition `arrays`, rounds
    or clients.
    """
    for name in _TEXTS:
        if not isinstance(attrs.get(name), str):
            raise ValueError(f"{name} is {attrs.get(name)!r}")
    if not isinstance(attrs.get("seed"), int):
        raise ValueError(f"seed is {attrs.get('seed')!r}")
    for described in (
        *_partition(arrays),
        *_columns(rounds),
        *_cohorts(cohorts, len(rounds["round"])),
    ):
        refuse_array(*described)
    _refuse_bounds("partition/offsets", arrays["offsets"], len(arrays["indices"]))
    _refuse_bounds("clients/offsets", cohorts.offsets, len(cohorts.ids))
    if (
        not (np.diff(rounds["round"]) > 0).all()
        or not np.isin(cohorts.ids, np.arange(cohorts.clients)).all()
    ):
        raise ValueError("rounds or clients are not in their order")


def refuse_array(name: str, array: Any, kinds: str, lengths: Lengths) -> None:
    """Raise ValueError unless `array` has a dtype of these kinds and these lengths, None for any."""
    fits = (
        isinstance(array, np.ndarray) and array.dtype.kind in kinds and array.ndim == len(lengths)
    )
    if not fits or any(
        wanted not in (None, got) for wanted, got in zip(lengths, array.shape, strict=True)
    ):
        raise ValueError(f"{name} is {getattr(array, 'dtype', array)!s} {list(np.shape(array))}")


class _Foreign(Exception):
    """A sound file of another kind or version."""


def _check(attrs: h5py.AttributeManager, format: str, version: int) -> None:
    found = attrs.get("format")
    if not isinstance(found, str) or found != format:
        raise _Foreign(_KINDS.get(str(found), "an HDF5 file of another kind"))
    if attrs["format_version"] > version:
        by = f"{attrs['format_version']}, written by mpifl {attrs.get('softwareVersion')}"
        raise _Foreign(f"format version {by}, where {version} is the newest known; update mpifl")


def _partition(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, str, Lengths]]:
    clients = len(arrays["offsets"]) - 1
    yield "partition/indices", arrays["indices"], "i", (None,)
    yield "partition/offsets", arrays["offsets"], "i", (clients + 1,)
    yield "partition/label_counts", arrays["label_counts"], "i", (clients, None)


def _columns(rounds: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, str, Lengths]]:
    yield "rounds/round", rounds["round"], "i", (None,)
    for name, column in rounds.items():
        yield f"rounds/{name}", column, "O" if name == "sha256" else "ifO", (len(rounds["round"]),)


def _cohorts(cohorts: Cohorts, rounds: int) -> Iterator[tuple[str, Any, str, Lengths]]:
    yield "clients/cohort", cohorts.ids, "i", (None,)
    yield "clients/offsets", cohorts.offsets, "i", (rounds + 1,)
    for name, value in cohorts.values.items():
        yield f"clients/{name}", value, "f", (len(cohorts.ids),)


def _refuse_bounds(name: str, offsets: np.ndarray, end: int) -> None:
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != end or (np.diff(offsets) < 0).any():
        raise ValueError(f"{name} do not lead from 0 to {end}")
