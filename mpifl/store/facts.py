"""What every run states of itself, and who has which samples."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from mpifl import __version__
from mpifl.store.image import FORMAT, FORMAT_VERSION


class Partition(NamedTuple):
    """Who has which samples: client c has `indices[offsets[c] : offsets[c + 1]]`."""

    indices: np.ndarray
    """(N) i8"""
    offsets: np.ndarray
    """(C + 1) i8"""
    label_counts: np.ndarray
    """(C, K) of integers"""


def attributes(config: str, seed: int) -> dict[str, str | int]:
    """The attributes of a new run's `results.h5`."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **software(),
        "created": now(),
        "run_id": str(uuid.uuid4()),
        "status": "running",
        "seed": seed,
        "config": config,
    }


def software() -> dict[str, str]:
    """What wrote a file, under the names that openPMD gave."""
    return {"software": "mpifl", "softwareVersion": __version__}


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def checked(
    partition: tuple[np.ndarray, np.ndarray, np.ndarray], clients: int
) -> dict[str, np.ndarray]:
    """The arrays of a Partition by name; raises ValueError when their shapes do not fit each other."""
    indices, offsets = (np.asarray(array, "i8") for array in partition[:2])
    label_counts = np.asarray(partition[2])
    if (
        offsets.shape != (clients + 1,)
        or len(label_counts) != clients
        or offsets[-1] != len(indices)
    ):
        got = f"{indices.shape}, {offsets.shape}, {label_counts.shape}"
        raise ValueError(
            f"partition: expected (N), ({clients + 1}) ending with N, ({clients}, K); got {got}"
        )
    return {"indices": indices, "offsets": offsets, "label_counts": label_counts}
