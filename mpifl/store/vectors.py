"""Named vectors in an HDF5 file that may be large: written atomically and without a second copy in
memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np

from mpifl.store import atomic

Vectors = Mapping[str, np.ndarray]
Like = Mapping[str, tuple[tuple[int, ...], np.dtype]]
"""shape and dtype by name"""

_ROOM_FOR_HEADERS = 1 << 20


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


def _like(name: str, vector: np.ndarray) -> tuple[tuple[int, ...], np.dtype]:
    dtype = np.asarray(vector).dtype
    if name in ("", ".") or "/" in name or dtype.kind not in "fiub":
        raise ValueError(
            f"checkpoint.{name}: expected numbers under a name without a slash; got {dtype}"
        )
    return np.shape(vector), dtype.newbyteorder("<")
