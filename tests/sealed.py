"""HDF5 files as mpifl seals them, with contents of a test's own: what a newer or another program
might have written.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mpifl.store import atomic, checksum


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """A file open to be changed, a new one if there is none; sealed again afterwards."""
    image = io.BytesIO(checksum.image(path) if path.exists() else b"")
    with h5py.File(image, "r+" if path.exists() else "w") as file:
        yield file
    atomic.write_hdf5(path, image.getbuffer())


def with_attributes(path: Path, **attributes) -> None:
    """A sealed file that holds nothing else."""
    with edited(path) as file:
        file.attrs.update(attributes)
