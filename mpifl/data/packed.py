"""A data set as one HDF5 file, uncompressed, with checksums at its end.

/                         attributes: format, format_version, software, softwareVersion, created,
                          name, source, checksum
/train, /test             images uint8 [n, c, h, w], labels int64 [n],
                          domains int64 [n] if the data set has domains,
                          clients int64 [n] if it names whose sample it is (test: may be absent)
/classes, /domain_names   strings, in the order of the labels and domains
/client_names             strings, in the order of the clients, if there are any
/mean, /std               float64 [c], of the training images / 255
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from mpifl import __version__
from mpifl.data.dataset import Dataset, Split, check_clients, check_fit, refuse_unnamed
from mpifl.options import BadInput
from mpifl.store import atomic, checksum, datasets

Result = TypeVar("Result")

FORMAT = "mpifl-data"
VERSION = 1
LONG_NAMES = {
    "images": "pixel values 0 to 255 (sample, channel, row, column)",
    "labels": "class of each sample, an index into /classes",
    "domains": "domain of each sample, an index into /domain_names",
    "clients": "client of each sample, an index into /client_names",
    "classes": "class names",
    "domain_names": "domain names",
    "client_names": "names of clients",
    "mean": "mean of the training images / 255, by channel",
    "std": "standard deviation of the training images / 255, by channel",
}
_ALL = slice(None)
_DAMAGE = (
    OSError,
    RuntimeError,
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    MemoryError,
)
"""what reading a damaged file may raise"""


@dataclass(frozen=True, eq=False)
class Description:
    """What a packed file holds, without its images."""

    name: str
    shape: tuple[int, int, int]
    """(channels, height, width)"""
    classes: tuple[str, ...]
    domain_names: tuple[str, ...]
    train: int
    """training samples"""
    test: int
    """test samples"""
    labels: np.ndarray
    """int64 [train]"""
    domains: np.ndarray | None
    """int64 [train]"""
    clients: np.ndarray | None
    """int64 [train]"""
    test_labels: np.ndarray
    """int64 [test]"""
    test_domains: np.ndarray | None
    """int64 [test]"""
    checksum: str
    source: str


def write(dataset: Dataset, path: Path | str) -> None:
    """Write `dataset` to `path` atomically. Raises BadInput if that fails.

    The file is made in memory, which takes as much again as the images.
    """
    path = Path(path)
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(_attributes(dataset))
        _add(file, "classes", np.array(dataset.classes, dtype=h5py.string_dtype()))
        _add(file, "domain_names", np.array(dataset.domain_names, dtype=h5py.string_dtype()))
        if dataset.client_names:
            names = np.array(dataset.client_names, dtype=h5py.string_dtype())
            _add(file, "client_names", names)
        _add(file, "mean", np.array(dataset.mean))
        _add(file, "std", np.array(dataset.std))
        _add_split(file, "train", dataset.train)
        _add_split(file, "test", dataset.test)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_hdf5(path, buffer.getbuffer())
    except OSError as error:
        raise BadInput(f"data: expected to write {path.absolute()}; got {error}") from error


def read(path: Path | str) -> Dataset:
    """The data set in a packed file. Raises BadInput for any other or damaged file."""
    return _read_file(Path(path), _dataset)


def head(path: Path | str, samples: int) -> Dataset:
    """The first `samples` samples of each split, or all if there are fewer. Raises as `read` does.

    Mean, deviation, checksum and source are those of the whole file.
    """

    def first_samples(file: h5py.File) -> Dataset:
        return _dataset(file, slice(samples))

    return _read_file(Path(path), first_samples)


def describe(path: Path | str) -> Description:
    """What a packed file holds. Reads no images. Raises as `read` does."""
    return _read_file(Path(path), _description)


def images(path: Path | str, part: str, indices: np.ndarray) -> np.ndarray:
    """The images uint8 [n, c, h, w] of these samples of the part train or test, in their order.

    Reads no others. Raises as `read` does.
    """
    ascending, places = np.unique(indices, return_inverse=True)

    def chosen(file: h5py.File) -> np.ndarray:
        stored = file[part]["images"]
        datasets.check(stored)
        return np.asarray(stored[ascending])[places]

    return _read_file(Path(path), chosen)


def _read_file(path: Path, read_content: Callable[[h5py.File], Result]) -> Result:
    """What `read_content` makes of the packed file at `path`, with every error as BadInput."""
    if not path.exists():
        raise BadInput(
            f"data.path: expected a data file; got nothing at {path.absolute()}; "
            f"`mpifl data NAME --out {path}` makes one"
        )
    try:
        with checksum.opened(path) as file:
            _refuse_other_formats(file)
            return read_content(file)
    except checksum.EditedFile as error:
        raise _not_packed(path, f"{error.what}; pack it again") from error
    except checksum.InvalidFile as error:
        raise _not_packed(path, error.what) from error
    except BadInput as error:
        raise _not_packed(path, str(error)) from error
    except _DAMAGE as error:
        message = getattr(error, "strerror", None) or str(error)
        raise _not_packed(path, f"it cannot be read: {' '.join(message.split())}") from error


def _not_packed(path: Path, reason: str) -> BadInput:
    return BadInput(
        f"data.path: expected a data file packed by `mpifl data`; got {path.absolute()} ({reason})"
    )


def _refuse_other_formats(file: h5py.File) -> None:
    found = file.attrs.get("format")
    version = file.attrs.get("format_version")
    if found is None:
        raise BadInput("an HDF5 file of another kind")
    if found != FORMAT:
        raise BadInput(f"an HDF5 file of format {found!r}")
    if version != VERSION:
        raise BadInput(f"its format_version is {version}; this mpifl reads {VERSION}")


def _attributes(dataset: Dataset) -> dict[str, str | int]:
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "software": "mpifl",
        "softwareVersion": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": dataset.name,
        "source": dataset.source,
        "checksum": dataset.checksum,
    }


def _add_split(file: h5py.File, name: str, split: Split) -> None:
    _add(file, f"{name}/images", split.images)
    _add(file, f"{name}/labels", split.labels)
    if split.domains is not None:
        _add(file, f"{name}/domains", split.domains)
    if split.clients is not None:
        _add(file, f"{name}/clients", split.clients)


def _add(file: h5py.File, path: str, values: np.ndarray) -> None:
    dataset = file.create_dataset(path, data=values)
    _, _, name = path.rpartition("/")
    dataset.attrs["long_name"] = LONG_NAMES[name]


def _dataset(file: h5py.File, part: slice = _ALL) -> Dataset:
    train = _split(file["train"], part)
    test = _split(file["test"], part)
    classes = _strings(file["classes"])
    domain_names = _strings(file["domain_names"])
    client_names = _strings(file["client_names"]) if "client_names" in file else ()
    check_fit(train, test, classes, domain_names)
    check_clients(train, test, len(client_names))
    channels = train.images.shape[1]
    mean = tuple(datasets.whole(file["mean"]).tolist())
    std = tuple(datasets.whole(file["std"]).tolist())
    if len(mean) != channels or len(std) != channels:
        raise BadInput(
            f"it has {len(mean)} means and {len(std)} deviations for {channels} channels"
        )
    if not np.isfinite(mean).all() or not np.isfinite(std).all() or min(std) < 0:
        raise BadInput(f"its means are {list(mean)} and its deviations {list(std)}")
    return Dataset(
        name=file.attrs["name"],
        train=train,
        test=test,
        classes=classes,
        domain_names=domain_names,
        mean=mean,
        std=std,
        checksum=file.attrs["checksum"],
        source=file.attrs["source"],
        client_names=client_names,
    )


def _split(group: h5py.Group, part: slice) -> Split:
    for dataset in group.values():
        datasets.check(dataset)
    domains = group["domains"][part] if "domains" in group else None
    clients = group["clients"][part] if "clients" in group else None
    return Split(group["images"][part], group["labels"][part], domains, clients)


def _strings(dataset: h5py.Dataset) -> tuple[str, ...]:
    return tuple(datasets.whole(dataset))


def _description(file: h5py.File) -> Description:
    train = file["train"]
    test = file["test"]
    images = train["images"]
    labels = datasets.whole(train["labels"])
    classes = _strings(file["classes"])
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise BadInput(f"its images are {list(images.shape)} and its labels {list(labels.shape)}")
    refuse_unnamed("labels", labels, len(classes))
    return Description(
        name=file.attrs["name"],
        shape=images.shape[1:],
        classes=classes,
        domain_names=_strings(file["domain_names"]),
        train=len(labels),
        test=len(test["labels"]),
        labels=labels,
        domains=datasets.whole(train["domains"]) if "domains" in train else None,
        clients=datasets.whole(train["clients"]) if "clients" in train else None,
        test_labels=datasets.whole(test["labels"]),
        test_domains=datasets.whole(test["domains"]) if "domains" in test else None,
        checksum=file.attrs["checksum"],
        source=file.attrs["source"],
    )
