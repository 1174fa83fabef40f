"""Data sets that the library `datasets` of Hugging Face reads.

    NAME            of the Hugging Face Hub, such as flwrlabs/femnist; fetched with --download
    FOLDER          parquet files, class folders of images, or what save_to_disk wrote
    FILE.parquet

No code of a data set is run: current versions of the library have no loading scripts. Images are
read from the bytes of their files, as those of image folders are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpifl.data.dataset import Dataset
from mpifl.data.hugging_face_columns import Columns, files, find, labels, library, values
from mpifl.data.pixels import AS_FILES, check_channels
from mpifl.data.reading import Pictures, read_all
from mpifl.data.samples import Samples, assembled, hold_out
from mpifl.options import BadInput, suggestion
from mpifl.terminal import plural, say

_SAVED = ("dataset_dict.json", "state.json")
"""what save_to_disk leaves in a folder, of several tables or of one"""
_MOST_CHARACTERS = 400  # of the library's own errors


def load(
    root: Path | None = None,
    download: bool = False,
    *,
    image: str = "",
    label: str = "",
    domain: str = "",
    client: str = "",
    train: str = "train",
    test: str = "",
    size: int = 0,
    channels: int = AS_FILES,
    held_out: float = 0.2,
    seed: int = 0,
    config: str = "",
    revision: str = "",
    name: str = "",
    skip_unreadable: bool = False,
) -> Dataset:
    """The data set in a folder or parquet file, or, with `download`, of this name on the Hub.

    `image`, `label`, `domain`, `client`: columns; all but the clients' are found where that is
    clear. `train`, `test`: the parts; by default the part test, and if there is only one part, a
    share `held_out` of it, drawn with `seed`; test=train asks for such a share. `size`: images
    become squares of so many pixels; with 0 they stay as they are. `channels`: 3 for RGB, 1 for
    grey, 0 for grey if all images are. `config` and `revision` are those of the Hub. Raises
    BadInput in one line.
    """
    if root is None:
        raise BadInput("data.hf: expected hf:NAME, hf:FOLDER or hf:FILE.parquet; got no name")
    if not 0 < held_out < 1:
        raise BadInput(f"data.hf: expected 0 < held_out < 1; got {held_out}")
    check_channels("data.hf", channels)
    where = f"hf:{root}"
    tables = _opened(root, download, config, revision)
    _refuse_unknown(f"{where}: train", train, tables)
    test = test or _test_part(where, train, tables)
    _refuse_unknown(f"{where}: test", test, tables)
    used = {part: tables[part] for part in dict.fromkeys((train, test))}
    others = sorted(tables.keys() - used.keys())
    if others:
        say(f"passed over {', '.join(others)} of {root}", error=True)
    columns = find(where, tables[train].features, image, label, domain, client)
    rows = {part: _rows(where, part, table, columns) for part, table in used.items()}
    classes = rows[train].classes
    if not _same(classes, rows[test].classes):
        raise BadInput(f"{where}: expected the same class names in {train} and {test}; got others")
    pictures = _read(where, used, columns, size, channels, skip_unreadable)
    parts = _samples(rows, pictures)
    if train == test:
        train_samples, test_samples, origin = hold_out(parts[train], held_out, seed)
    else:
        train_samples, test_samples = parts[train], parts[test]
        origin = f"the part {test}"
    resized = f", shorter side resized to {size} (bicubic) and centre cropped" if size else ""
    source = (
        f"Hugging Face {root}, {columns}; images {pictures.conversion}{resized}; "
        f"test images: {origin}"
    )
    return assembled(name or root.stem, root, train_samples, test_samples, classes, source)


def _opened(root: Path, download: bool, config: str, revision: str) -> dict[str, Any]:
    """The tables by the names of the parts. Raises BadInput, which has the library's reason."""
    if not root.exists() and not download:
        raise BadInput(
            f"data.hf: expected a folder or a .parquet file; got nothing at {root.absolute()}; "
            f"if {root} is a name on the Hugging Face Hub, add --download"
        )
    if root.is_file() and root.suffix != ".parquet":
        raise BadInput(f"data.hf: expected a folder or a .parquet file; got {root.absolute()}")
    hub = library()
    if root.exists():
        hub.disable_progress_bars()
    try:
        if root.is_file():
            opened = hub.load_dataset("parquet", data_files=str(root.absolute()))
        elif any((root / name).is_file() for name in _SAVED):
            opened = hub.load_from_disk(str(root))
        else:
            opened = hub.load_dataset(str(root), config or None, revision=revision or None)
    except Exception as error:  # the library's readers can raise anything
        raise BadInput(f"data.hf: expected data in {root}; got: {_reason(error)}") from error
    return dict(opened) if isinstance(opened, dict) else {"train": opened}


def _reason(error: Exception) -> str:
    """The first cause of an error, in one line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    line = " ".join(str(cause).split()) or type(cause).__name__
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]} ..."


def _refuse_unknown(where: str, part: str, tables: dict[str, Any]) -> None:
    if part not in tables:
        raise BadInput(f"{where}: expected a part; got {part!r}{suggestion(part, tables)}")


def _test_part(where: str, train: str, tables: dict[str, Any]) -> str:
    """The part that is the test if none is named. Raises BadInput if that is not clear."""
    if "test" in tables:
        return "test"
    if set(tables) == {train}:
        return train
    raise BadInput(
        f"{where}: expected a part test; got {', '.join(tables)}; allowed: --option test=PART, or "
        f"test={train} for a held-out share of it"
    )


def _read(
    where: str,
    tables: dict[str, Any],
    columns: Columns,
    size: int,
    channels: int,
    skip_unreadable: bool,
) -> Pictures:
    """The images of all tables, one after the other. Raises BadInput."""
    count = sum(len(table) for table in tables.values())
    say(f"reading {plural(count, 'image')}", error=True)
    every = (
        file for part, table in tables.items() for file in files(where, part, table, columns.image)
    )
    return read_all(where, every, count, size, channels, skip_unreadable)


@dataclass(frozen=True)
class _Rows:
    """What is known of the rows of a table beside their images."""

    labels: np.ndarray
    classes: np.ndarray | None
    domains: np.ndarray | None
    clients: np.ndarray | None


def _rows(where: str, part: str, table: Any, columns: Columns) -> _Rows:
    """The values of all rows of a part. Raises BadInput."""
    of_rows, classes = labels(where, part, table, columns.label)
    domains = values(where, part, table, columns.domain)
    clients = values(where, part, table, columns.client)
    return _Rows(of_rows, classes, domains, clients)


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _samples(parts: dict[str, _Rows], pictures: Pictures) -> dict[str, Samples]:
    """The samples of each part whose images could be read."""
    samples = {}
    before = 0
    for part, rows in parts.items():
        after = before + len(rows.labels)
        start, end = np.searchsorted(pictures.kept, (before, after))
        kept = pictures.kept[start:end] - before
        samples[part] = Samples(
            pictures.images[start:end],
            rows.labels[kept],
            None if rows.domains is None else rows.domains[kept],
            None if rows.clients is None else rows.clients[kept],
        )
        before = after
    return samples
