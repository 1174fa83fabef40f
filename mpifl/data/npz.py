"""Arrays of a data set in an .npz file, found by their names. Nothing in it is unpickled.

An array's name has the part of the data set and the kind of values in it, in any order:
train_images, y_test, images, clients_train ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from mpifl.data.dataset import refuse_beyond_memory
from mpifl.options import BadInput

PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
KINDS = {
    "images": "images",
    "image": "images",
    "x": "images",
    "data": "images",
    "labels": "labels",
    "label": "labels",
    "y": "labels",
    "targets": "labels",
    "domains": "domains",
    "domain": "domains",
    "clients": "clients",
    "client": "clients",
    "users": "clients",
    "writers": "clients",
}
CLASSES = "classes"
"""the array of the class names, of no part"""

Parts = dict[str, dict[str, np.ndarray]]
"""part -> kind -> array; the part is "" for arrays whose names have none"""


def read(path: Path) -> tuple[Parts, np.ndarray | None, list[str]]:
    """The arrays in the file by part and kind, the class names, and the names of other arrays.

    Raises BadInput, which names the file and the array.
    """
    parts: Parts = {}
    classes = None
    others = []
    with _opened(path) as archive:
        known = {name: _recognised(name) for name in archive.files}
        # The images are made beside the arrays, and once more in the file that is packed.
        refuse_beyond_memory(str(path), 2 * _unpacked(archive))
        for name, meaning in known.items():
            if name == CLASSES:
                classes = _array(path, archive, name)
            elif meaning is None:
                others.append(name)
            else:
                part, kind = meaning
                of_part = parts.setdefault(part, {})
                if kind in of_part:
                    raise BadInput(
                        f"{path}: expected one array of the {kind} of {part or 'all samples'}; "
                        f"got {name} and another"
                    )
                of_part[kind] = _array(path, archive, name)
    return parts, classes, others


@contextmanager
def _opened(path: Path) -> Iterator[NpzFile]:
    if not path.is_file():
        found = "something else" if path.exists() else "nothing"
        raise BadInput(f"data.arrays: expected an .npz file; got {found} at {path.absolute()}")
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except Exception as error:  # a broken file can raise anything in numpy and zipfile
            raise BadInput(f"{path}: expected an .npz file; got: {_reason(error)}") from error
        if not isinstance(archive, NpzFile):
            raise BadInput(
                f"{path}: expected an .npz file of several arrays, as numpy.savez makes it; "
                "got a single array"
            )
        with archive:
            yield archive


def _unpacked(archive: NpzFile) -> int:
    """The bytes of all arrays once they are unpacked."""
    members = [] if archive.zip is None else archive.zip.infolist()
    return sum(member.file_size for member in members)


def _array(path: Path, archive: NpzFile, name: str) -> np.ndarray:
    try:
        return archive[name]
    except Exception as error:  # see above
        raise BadInput(
            f"{path}: expected an array of numbers or strings as {name}; got: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _recognised(name: str) -> tuple[str, str] | None:
    """The part and the kind that an array's name means; None for other names."""
    words = name.lower().replace("-", "_").split("_")
    parts = [PARTS[word] for word in words if word in PARTS]
    kinds = [KINDS[word] for word in words if word in KINDS]
    if len(kinds) != 1 or len(parts) > 1 or len(words) != len(parts) + 1:
        return None
    return (parts[0] if parts else "", kinds[0])
