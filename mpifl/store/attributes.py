"""Attributes of HDF5 groups: text, numbers, and lists of them.

HDF5 refuses an attribute of more than 64 kB, such as the hosts of 4,096 ranks. A list of more than
1,000 items is therefore a dataset of the same name in the group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from mpifl.store import datasets

Attributes = Mapping[str, str | int | float | list]

_LONGEST_LIST = 1000
_TEXT = h5py.string_dtype()


def write_attributes(group: h5py.Group, attributes: Attributes) -> None:
    """Give a group these attributes. An empty list is stored as an empty attribute."""
    for name, value in attributes.items():
        if not isinstance(value, list):
            group.attrs[name] = _storable(value)
            continue
        items = [_storable(item) for item in value]
        if len(items) > _LONGEST_LIST:
            _write_long_list(group, name, items)
        else:
            group.attrs[name] = items or h5py.Empty("f4")


def read_attributes(group: h5py.Group) -> dict[str, Any]:
    """The attributes of a group as Python's own types.

    All datasets in the group are taken for long lists: a group of arrays has none.
    """
    attributes = {name: _plain(value) for name, value in group.attrs.items()}
    for name, item in group.items():
        if isinstance(item, h5py.Dataset):
            attributes[name] = datasets.whole(item).tolist()
    return attributes


def _write_long_list(group: h5py.Group, name: str, items: list[Any]) -> None:
    if any(isinstance(item, str) for item in items):
        group.create_dataset(name, data=np.array(items, object), dtype=_TEXT)
    else:
        group.create_dataset(name, data=items)


def _storable(value: str | int | float) -> str | int | float:
    """Booleans become 0 and 1, since netCDF has none. Text becomes valid Unicode.

    Text from the environment need not be valid.
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return text.replace("\0", "\ufffd")
    return value


def _plain(value: Any) -> Any:
    """An attribute's value as Python's own types."""
    if isinstance(value, h5py.Empty):
        return []
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value
