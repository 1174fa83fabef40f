"""Flat vectors as they go to a model file: their digest and the arrays written under one round."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "global": ("weight",),
    "buffers": ("buffer",),
    "clients": ("client", "weight"),
    "client_buffers": ("client", "buffer"),
    "client_ids": ("client",),
}
"""What a model file may hold, with the names of each array's dimensions."""


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


def _vector(values: ArrayLike) -> np.ndarray:
    array = flat(values)
    return array if array.size else np.zeros(0, "f4")
