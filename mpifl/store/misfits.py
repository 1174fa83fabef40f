"""What all that reads a run relies on: texts are texts, and arrays are as long as each other say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mpifl.store.cohorts import Cohorts

_TEXTS = ("config", "status", "run_id", "created", "updated", "software", "softwareVersion")
Lengths = tuple[int | None, ...]


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
