"""HDF5 files with the checksums of mpifl and contents of a test's own: what a newer version or
another program might have written.
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
    """Open a file to change it, or a new one. Its checksums are written at the end."""
    exists = path.exists()
    image = io.BytesIO(checksum.read_image(path) if exists else b"")
    with h5py.File(image, "r+" if exists else "w") as file:
        yield file
    atomic.write_hdf5(path, image.getbuffer())


def with_attributes(path: Path, **attributes) -> None:
    """A file that holds nothing but these attributes."""
    with edited(path) as file:
        file.attrs.update(attributes)
