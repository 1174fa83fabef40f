"""Columns of a table of Hugging Face `datasets`: which holds what, and their values as arrays.

The library is an optional dependency: `pip install 'mpifl[datasets]'`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mpifl.data.reading import File
from mpifl.data.samples import column
from mpifl.options import BadInput, suggestion

_LABEL_NAMES = ("label", "labels", "class", "target", "y")
_DOMAIN_NAME = "domain"
_BINARY = ("binary", "large_binary")
_ROWS_AT_ONCE = 256
_NO_CLASS = -1  # how such tables say that a row has no label


def library() -> ModuleType:
    """The package `datasets`. Raises BadInput where it is not installed."""
    try:
        return import_module("datasets")
    except ImportError as error:
        raise BadInput(
            f"data.hf: expected the package datasets; got: {error}; `pip install 'mpifl[datasets]'`"
        ) from error


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are used; "" for none."""

    image: str
    label: str
    domain: str
    client: str

    def __str__(self) -> str:
        words = f"images of the column {self.image}, labels of {self.label}"
        if self.domain:
            words += f", domains of {self.domain}"
        if self.client:
            words += f", clients of {self.client}"
        return words


def find(
    where: str, features: Mapping[str, Any], image: str, label: str, domain: str, client: str
) -> Columns:
    """The columns with these names, or, for "", those that are found.

    Images: the only column of images, or of the bytes of files. Labels: the only ClassLabel, or the
    only column with a usual name. Domains: a column called domain. Clients are only used if they
    are named. Raises BadInput, which begins with `where` and names the columns.
    """
    for option, name in (("image", image), ("label", label), ("domain", domain)):
        _refuse_unknown(f"{where}: {option}", name, features)
    _refuse_unknown(f"{where}: client", client, features)
    image = image or _only(where, "image", _image_columns(features), features)
    others = {name: features[name] for name in features if name not in (image, client)}
    if not domain and _DOMAIN_NAME in others and label != _DOMAIN_NAME:
        domain = _DOMAIN_NAME
    others.pop(domain, None)
    label = label or _only(where, "label", _label_columns(others), features)
    return Columns(image, label, domain, client)


def _refuse_unknown(where: str, name: str, features: Collection[str]) -> None:
    if name and name not in features:
        raise BadInput(f"{where}: expected a column; got {name!r}{suggestion(name, features)}")


def _only(where: str, what: str, found: list[str], features: Collection[str]) -> str:
    if len(found) == 1:
        return found[0]
    got = " and ".join(found) if found else f"none that is known among {', '.join(features)}"
    raise BadInput(
        f"{where}: expected one column of {what}s; got {got}; allowed: --option {what}=COLUMN"
    )


def _image_columns(features: Mapping[str, Any]) -> list[str]:
    images = [name for name, kind in features.items() if isinstance(kind, library().Image)]
    return images or [name for name, kind in features.items() if _holds_files(kind)]


def _holds_files(kind: Any) -> bool:
    """Whether a column has the bytes of files, as parquet files not of `datasets` have them."""
    if isinstance(kind, dict):
        return "bytes" in kind and _holds_files(kind["bytes"])
    return isinstance(kind, library().Value) and kind.dtype in _BINARY


def _label_columns(features: Mapping[str, Any]) -> list[str]:
    labels = [name for name, kind in features.items() if isinstance(kind, library().ClassLabel)]
    return labels or [name for name in features if name in _LABEL_NAMES]


def files(where: str, part: str, table: Any, name: str) -> Iterator[File]:
    """The image file of each row, and what errors call it. Raises BadInput for other columns."""
    kind = table.features[name]
    if isinstance(kind, library().Image):
        table = table.cast_column(name, library().Image(decode=False))
    elif not _holds_files(kind):
        raise BadInput(
            f"{where}: expected a column of images; got {name} of {kind}; numbers are read by "
            "`mpifl data arrays`"
        )
    row = 0
    for batch in table.select_columns([name]).iter(batch_size=_ROWS_AT_ONCE):
        for cell in batch[name]:
            yield _content(cell), Path(f"row {row} of {part}")
            row += 1


def _content(cell: Any) -> Path | BytesIO:
    """The file in a cell: bytes, or a dict of `bytes` or a `path`; empty for a cell without one."""
    if isinstance(cell, dict):
        if cell["bytes"] is None and cell.get("path"):
            return Path(cell["path"])
        cell = cell["bytes"]
    return BytesIO(cell or b"")


def labels(where: str, part: str, table: Any, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The labels, int64 or strings [n], and the names of the classes if the column has them.

    Raises BadInput, also for rows without a label.
    """
    values = _plain(where, part, table, name)
    names = _class_names(table, name)
    if names is not None and (values == _NO_CLASS).any():
        row = int(np.argmax(values == _NO_CLASS))
        raise BadInput(
            f"{where}: expected a label in each row; got {name} without one in row {row} of "
            f"{part}; allowed: --option test=PART, or test=train for a held-out share"
        )
    return values, names


def values(where: str, part: str, table: Any, name: str) -> np.ndarray | None:
    """The values of a column, int64 or strings [n]. Raises BadInput.

    None for "", and where a part lacks the column, which the library may fill with nothing.
    """
    if not name or name not in table.features:
        return None
    if all(cell is None for cell in table[name]):
        return None
    plain = _plain(where, part, table, name)
    names = _class_names(table, name)
    return plain if names is None else names[plain]


def _plain(where: str, part: str, table: Any, name: str) -> np.ndarray:
    kind = table.features[name]
    if not isinstance(kind, library().Value | library().ClassLabel):
        raise BadInput(f"{where}: expected integers or strings in {name}; got {kind}")
    cells = list(table[name])
    if None in cells:
        raise BadInput(
            f"{where}: expected a value in each row; got {name} without one in row "
            f"{cells.index(None)} of {part}"
        )
    return column(f"{where}: {name} of {part}", np.array(cells), len(table))


def _class_names(table: Any, name: str) -> np.ndarray | None:
    kind = table.features[name]
    return np.array(kind.names) if isinstance(kind, library().ClassLabel) else None
