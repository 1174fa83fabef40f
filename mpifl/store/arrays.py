"""Arrays as they are stored: flat weights with their digest, named vectors of a checkpoint."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import ArrayLike

from mpifl.store import atomic

DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "global": ("weight",),
    "buffers": ("buffer",),
    "clients": ("client", "weight"),
    "client_buffers": ("client", "buffer"),
    "client_ids": ("client",),
    "frozen": ("frozen_weight",),
    "average": ("weight",),
}
"""The arrays of a model file, with the names of each array's dimensions."""

Vectors = Mapping[str, np.ndarray]

ROOM_FOR_HEADERS = 1 << 20
"""bytes reserved for what libhdf5 writes beside the arrays"""


class VectorSpec(NamedTuple):
    """What an array looks like."""

    shape: tuple[int, ...]
    dtype: np.dtype


def sha256(weights: ArrayLike, buffers: ArrayLike = ()) -> str:
    """SHA-256, in hex, of the little-endian bytes of the weights, then of the buffers.

    >>> sha256(np.zeros(0, "f4")) == hashlib.sha256(b"").hexdigest()
    True
    """
    digest = hashlib.sha256()
    for vector in (weights, buffers):
        digest.update(stored(vector).view("u1").data)
    return digest.hexdigest()


def stored(values: ArrayLike) -> np.ndarray:
    """An array as it is stored: contiguous, little-endian, in its own precision."""
    array = np.ascontiguousarray(values)
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def model_arrays(
    weights: ArrayLike,
    buffers: ArrayLike,
    clients: ArrayLike | None = None,
    client_buffers: ArrayLike | None = None,
    client_ids: ArrayLike | None = None,
    frozen: ArrayLike | None = None,
    average: ArrayLike | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of one model file, by name: see `Store.weights`.

    Without `client_ids` they are 0, 1, 2 ... Raises ValueError if the shapes do not fit each other.
    """
    arrays = {"global": stored(weights), "buffers": _stored_buffers(buffers)}
    if clients is not None:
        arrays["clients"] = stored(clients)
        ids = np.arange(len(arrays["clients"])) if client_ids is None else client_ids
        arrays["client_ids"] = np.asarray(ids, "i8")
    if client_buffers is not None:
        arrays["client_buffers"] = stored(client_buffers)
    if frozen is not None:
        arrays["frozen"] = stored(frozen)
    if average is not None:
        arrays["average"] = stored(average)
    _refuse_unlike_sizes(arrays)
    return arrays


def common_specs(states: Mapping[int, Vectors]) -> dict[str, VectorSpec]:
    """The specs that the vectors of all clients' states share.

    Raises ValueError if the states differ or cannot be stored.
    """
    first: dict[str, VectorSpec] | None = None
    for client, state in states.items():
        specs = {name: _spec(name, vector) for name, vector in state.items()}
        if first is None:
            first = specs
        elif specs != first:
            raise ValueError(
                f"checkpoint: expected states like {first}; got {specs} for client {client}"
            )
    return first or {}


def create_datasets(
    file: h5py.File, group: str, specs: Mapping[str, VectorSpec]
) -> dict[str, h5py.Dataset]:
    """Empty datasets in a new group, which keeps their order."""
    parent = file.create_group(group, track_order=True)
    datasets = {}
    for name, spec in specs.items():
        datasets[name] = parent.create_dataset(name, spec.shape, spec.dtype)
    return datasets


def write(
    path: Path,
    attributes: Mapping[str, int | str],
    specs: Mapping[str, VectorSpec],
    fill: Callable[[h5py.File], None],
    check: atomic.Check | None = None,
) -> tuple[int, int]:
    """Write an HDF5 file atomically, without a copy of it in memory: `fill` writes the arrays.

    Room for arrays of these `specs` is reserved on the disk before. Returns the file's size in
    bytes and the CRC-32 of its checksums. Raises OSError naming `path`.
    """
    header = io.BytesIO()
    with h5py.File(header, "w") as file:
        file.attrs.update(attributes)
    room = ROOM_FOR_HEADERS
    for spec in specs.values():
        room += int(np.prod(spec.shape, dtype="i8")) * spec.dtype.itemsize
    with atomic.replacing(path, check) as temporary:
        atomic.create_with_room(temporary, header.getbuffer(), room)
        with h5py.File(temporary, "r+", locking=False) as file:
            fill(file)
        return atomic.append_trailer(temporary)


def _stored_buffers(buffers: ArrayLike) -> np.ndarray:
    array = stored(buffers)
    if array.size == 0:
        return np.zeros(0, "f4")
    return array


def _refuse_unlike_sizes(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError if two arrays disagree about the size of a dimension."""
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        for dimension, size in zip(DIMENSIONS[name], array.shape, strict=True):
            expected = sizes.setdefault(dimension, size)
            if size != expected:
                raise ValueError(
                    f"weights.{name}: expected {expected} along {dimension}; got {size}"
                )


def _spec(name: str, vector: np.ndarray) -> VectorSpec:
    dtype = np.asarray(vector).dtype
    if name in ("", ".") or "/" in name or dtype.kind not in "fiub":
        raise ValueError(
            f"checkpoint.{name}: expected numbers under a name without a slash; got {dtype}"
        )
    return VectorSpec(np.shape(vector), dtype.newbyteorder("<"))
