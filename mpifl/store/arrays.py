"""Arrays as they are stored: flat weights and their digest, and the named arrays of a checkpoint."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

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
}
"""What a model file may hold, with the names of each array's dimensions."""

Vectors = Mapping[str, np.ndarray]
Like = Mapping[str, tuple[tuple[int, ...], np.dtype]]
"""shape and dtype by name"""

_ROOM_FOR_HEADERS = 1 << 20


def sha256(weights: ArrayLike, buffers: ArrayLike = ()) -> str:
    """SHA-256, in hex, of the little-endian bytes of the weights, then of the buffers.

    >>> sha256(np.zeros(0, "f4")) == hashlib.sha256(b"").hexdigest()
    True
    """
    sha = hashlib.sha256()
    for vector in (weights, buffers):
        sha.update(flat(vector).view("u1"))
    return sha.hexdigest()


def flat(values: ArrayLike) -> np.ndarray:
    """An array as it is stored: contiguous, little-endian, of the precision it came in."""
    array = np.ascontiguousarray(values)
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def model_arrays(
    weights: ArrayLike,
    buffers: ArrayLike,
    clients: ArrayLike | None = None,
    client_buffers: ArrayLike | None = None,
    client_ids: ArrayLike | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of one model file by name. Raises ValueError when their shapes do not fit each
    other.
    """
    arrays = {"global": flat(weights), "buffers": _vector(buffers)}
    if clients is not None:
        arrays["clients"] = flat(clients)
        arrays["client_ids"] = np.asarray(
            range(len(clients)) if client_ids is None else client_ids, "i8"
        )
    if client_buffers is not None:
        arrays["client_buffers"] = flat(client_buffers)
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        for dimension, size in zip(DIMENSIONS[name], array.shape, strict=True):
            if sizes.setdefault(dimension, size) != size:
                raise ValueError(
                    f"weights.{name}: expected {sizes[dimension]} along {dimension}; got {size}"
                )
    return arrays


def common(states: Mapping[int, Vectors]) -> Like:
    """What the vectors of all states look like; raises ValueError if they differ or cannot be
    stored.
    """
    first: Like | None = None
    for client, state in states.items():
        like = {name: _like(name, vector) for name, vector in state.items()}
        first = like if first is None else first
        if like != first:
            raise ValueError(
                f"checkpoint: expected states like {first}; got {like} for client {client}"
            )
    return first or {}


def datasets(file: h5py.File, group: str, like: Like) -> dict[str, h5py.Dataset]:
    """Empty datasets in a new group that keeps their order."""
    made = file.create_group(group, track_order=True)
    return {name: made.create_dataset(name, shape, dtype) for name, (shape, dtype) in like.items()}


def write(
    path: Path,
    about: Mapping[str, int | str],
    like: Like,
    fill: Callable[[h5py.File], None],
    check: Callable[[], None] | None = None,
) -> tuple[int, int]:
    """Make an HDF5 file of attributes `about` and what `fill` puts in, room for `like` reserved
    before.

    Returns its size in bytes and its seal's CRC-32. `check` may refuse before the rename. Raises
    OSError naming `path`.
    """
    head = io.BytesIO()
    with h5py.File(head, "w") as file:
        file.attrs.update(about)
    room = sum(int(np.prod(shape, dtype="i8")) * dtype.itemsize for shape, dtype in like.values())
    with atomic.replacing(path, check) as temporary:
        atomic.write_with_room(temporary, head.getbuffer(), room + _ROOM_FOR_HEADERS)
        with h5py.File(temporary, "r+", locking=False) as file:
            fill(file)
        return atomic.seal_hdf5(temporary)


def _vector(values: ArrayLike) -> np.ndarray:
    array = flat(values)
    return array if array.size else np.zeros(0, "f4")


def _like(name: str, vector: np.ndarray) -> tuple[tuple[int, ...], np.dtype]:
    dtype = np.asarray(vector).dtype
    if name in ("", ".") or "/" in name or dtype.kind not in "fiub":
        raise ValueError(
            f"checkpoint.{name}: expected numbers under a name without a slash; got {dtype}"
        )
    return np.shape(vector), dtype.newbyteorder("<")
