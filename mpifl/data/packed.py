"""A data set as one HDF5 file: written once and atomically, contiguous and uncompressed, described
by itself, sealed.

    /                         attributes: format, format_version, software, softwareVersion, created,
                              name, source, checksum
    /train, /test             images uint8 [n, c, h, w], labels int64 [n], domains int64 [n] (where there are any)
    /classes, /domain_names   strings, in the order of the labels and domains
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
from mpifl.data.dataset import Dataset, Split, refuse_misfits, refuse_unnamed
from mpifl.options import BadInput
from mpifl.store import atomic, checksum

Found = TypeVar("Found")

FORMAT = "mpifl-data"
VERSION = 1
LONG_NAMES = {
    "images": "pixel values 0 to 255 (sample, channel, row, column)",
    "labels": "class of each sample, an index into /classes",
    "domains": "domain of each sample, an index into /domain_names",
    "classes": "class names",
    "domain_names": "domain names",
    "mean": "mean of the training images / 255, by channel",
    "std": "standard deviation of the training images / 255, by channel",
}


@dataclass(frozen=True, eq=False)
class Description:
    """What a plan needs to know of a packed file; read without its images."""

    name: str
    shape: tuple[int, int, int]
    """(channels, height, width)"""
    classes: tuple[str, ...]
    domain_names: tuple[str, ...]
    train: int
    """training samples"""
    test: int
    labels: np.ndarray
    """int64 [train]"""
    domains: np.ndarray | None
    """int64 [train]"""
    checksum: str
    source: str


def write(dataset: Dataset, path: Path | str) -> None:
    """Put `dataset` at `path`, whole or not at all; BadInput where that cannot be written.

    The file is made in memory, so this needs as much again as the images take.
    """
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(_attributes(dataset))
        _add(file, "classes", np.array(dataset.classes, dtype=h5py.string_dtype()))
        _add(file, "domain_names", np.array(dataset.domain_names, dtype=h5py.string_dtype()))
        _add(file, "mean", np.array(dataset.mean))
        _add(file, "std", np.array(dataset.std))
        for name in ("train", "test"):
            split = getattr(dataset, name)
            for part in ("images", "labels", "domains"):
                if getattr(split, part) is not None:
                    _add(file, f"{name}/{part}", getattr(split, part))
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_hdf5(Path(path), buffer.getbuffer())
    except OSError as error:
        raise BadInput(f"data: expected to write {Path(path).absolute()}; got {error}") from error


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


def _add(file: h5py.File, name: str, values: np.ndarray) -> None:
    file.create_dataset(name, data=values).attrs["long_name"] = LONG_NAMES[name.rpartition("/")[2]]


def read(path: Path | str) -> Dataset:
    """The data set packed at `path`, found to be as it was written; BadInput for anything else."""
    return _opened(Path(path), _dataset)


def head(path: Path | str, samples: int) -> Dataset:
    """The first `samples` of each split at `path`, or all if there are fewer; BadInput as for
    `read`.

    Mean, deviation, checksum and source are the whole file's.
    """
    return _opened(Path(path), lambda file: _dataset(file, slice(samples)))


def describe(path: Path | str) -> Description:
    """What `path` holds, without reading its images; BadInput as for `read`."""
    return _opened(Path(path), _description)


def _opened(path: Path, use: Callable[[h5py.File], Found]) -> Found:
    if not path.exists():
        raise BadInput(
            f"data.path: expected a data file; got nothing at {path.absolute()}; "
            f"`mpifl data NAME --out {path}` makes one"
        )
    try:
        with checksum.opened(path) as file:
            _refuse_foreign(file)
            return use(file)
    except BadInput as error:
        raise _not_packed(path, getattr(error, "what", str(error))) from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise _not_packed(path, f"it cannot be read: {reason}") from error


def _not_packed(path: Path, reason: str) -> BadInput:
    return BadInput(
        f"data.path: expected a data file packed by `mpifl data`; got {path.absolute()} ({reason})"
    )


def _refuse_foreign(file: h5py.File) -> None:
    found, version = file.attrs.get("format"), file.attrs.get("format_version")
    if found != FORMAT:
        raise BadInput(
            f"an HDF5 file of format {found!r}"
            if found is not None
            else "an HDF5 file of another kind"
        )
    if version != VERSION:
        raise BadInput(f"its format_version is {version}; this mpifl reads {VERSION}")


def _dataset(file: h5py.File, part: slice = slice(None)) -> Dataset:
    train, test = (_split(file[name], part) for name in ("train", "test"))
    classes, domain_names = _strings(file["classes"]), _strings(file["domain_names"])
    refuse_misfits(train, test, classes, domain_names)
    mean, std = (tuple(file[part][()].tolist()) for part in ("mean", "std"))
    if not len(mean) == len(std) == train.images.shape[1]:
        raise BadInput(
            f"it has {len(mean)} means and {len(std)} deviations for {train.images.shape[1]} channels"
        )
    name, source, checksum = (file.attrs[told] for told in ("name", "source", "checksum"))
    return Dataset(name, train, test, classes, domain_names, mean, std, checksum, source)


def _split(group: h5py.Group, part: slice) -> Split:
    return Split(
        *(group[name][part] if name in group else None for name in ("images", "labels", "domains"))
    )


def _strings(dataset: h5py.Dataset) -> tuple[str, ...]:
    return tuple(dataset.asstr()[()])


def _description(file: h5py.File) -> Description:
    images, group = file["train/images"], file["train"]
    labels = group["labels"][()]
    domains = group["domains"][()] if "domains" in group else None
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
        test=len(file["test/labels"]),
        labels=labels,
        domains=domains,
        checksum=file.attrs["checksum"],
        source=file.attrs["source"],
    )
