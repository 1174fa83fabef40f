"""Read the arrays of HDF5 files that anybody may have made.

HDF5 lets an array be kept in any other file of the disk, and lets it be larger than what is stored.
Neither is used by mpifl, and both are refused: a file sent by somebody must not read other files,
nor fill the memory.
"""

from __future__ import annotations

import math
import os

import h5py
import numpy as np

_MOST_EXPANSION = 1100
"""bytes of an array for each stored byte: deflate reaches 1032"""
_FREE = 1 << 20
"""bytes that an array may have beside, such as one that is never written"""
_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
"""bytes of this machine"""


def whole(dataset: h5py.Dataset) -> np.ndarray:
    """All values of an array; text as objects. Raises ValueError as `check` does."""
    check(dataset)
    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()])
    return np.asarray(dataset[()])


def check(dataset: h5py.Dataset) -> None:
    """Raise ValueError unless this is an array kept in its own file, with a size that fits it."""
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{dataset.name} is no array")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} is kept in other files")
    size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if size > min(_MEMORY, _MOST_EXPANSION * stored + _FREE):
        raise ValueError(
            f"{dataset.name} has the shape {list(dataset.shape)}, but {stored} bytes in the file"
        )


def check_all(group: h5py.Group, allowed_links: set[str]) -> None:
    """Raise ValueError unless everything below a group is kept in its own file.

    Links to other files are allowed at the paths `allowed_links`.
    """
    seen = {_address(group)}
    groups = [group]
    while groups:
        here = groups.pop()
        for name in here:
            path = f"{here.name.rstrip('/')}/{name}"
            if isinstance(here.get(name, getlink=True), h5py.ExternalLink):
                if path not in allowed_links:
                    raise ValueError(f"{path} is a link to another file")
                continue
            item = here[name]
            if isinstance(item, h5py.Dataset):
                check(item)
            elif isinstance(item, h5py.Group) and _address(item) not in seen:
                seen.add(_address(item))
                groups.append(item)


def _address(group: h5py.Group) -> int:
    return h5py.h5o.get_info(group.id).addr
