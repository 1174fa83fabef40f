"""What the HDF5 files of a run look like, built in memory: `results.h5` and `models/round_*.h5`.

Every array of `results.h5` hangs on netCDF-4 dimension scales of its own group, so that each group
opens by itself in xarray. Arrays of model files have named dimensions but no scales: they are read
through external links, and a scale is an object reference, which means nothing in another file.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from mpifl import __version__
from mpifl.store import checksum
from mpifl.store.arrays import DIMENSIONS
from mpifl.store.long_names import describe
from mpifl.store.round_tables import Cohorts

FORMAT = "mpifl-run"
MODEL_FORMAT = "mpifl-model"
FORMAT_VERSION = 1
_BARE = "This is a netCDF dimension but not a netCDF variable. %10d"
_TEXT = h5py.string_dtype()

MANY = 10_000
"""up to so many clients, /clients holds arrays (rounds, clients)"""


class Entry(NamedTuple):
    """One row of the flat vectors' table of contents."""

    name: str
    kind: str
    """`parameter` (in the weights) or `buffer` (in the buffers)"""
    shape: tuple[int, ...]
    offset: int
    size: int


class Partition(NamedTuple):
    """Who has which samples: client c has `indices[offsets[c] : offsets[c + 1]]`."""

    indices: np.ndarray
    """(N) i8"""
    offsets: np.ndarray
    """(C + 1) i8"""
    label_counts: np.ndarray
    """(C, K) of integers"""


@dataclass(frozen=True)
class Results:
    """Everything in `results.h5`: `partition` by array name, `models` the names of the arrays saved
    by round.
    """

    attributes: Mapping[str, str | int]
    provenance: Mapping[str, str | int | float | list]
    layout: Sequence[Entry]
    partition: Mapping[str, np.ndarray]
    rounds: Mapping[str, np.ndarray]
    clients: Cohorts
    models: Mapping[int, Sequence[str]]
    resumes: Sequence[Mapping[str, str | int | float | list]] = ()
    """what each resume adds to the provenance"""


def run_attributes(config: str, seed: int) -> dict[str, str | int]:
    """The attributes of a new run's `results.h5`."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **software(),
        "created": timestamp(),
        "run_id": str(uuid.uuid4()),
        "status": "running",
        "seed": seed,
        "config": config,
    }


def software() -> dict[str, str]:
    """What wrote a file, under the names that openPMD gave."""
    return {"software": "mpifl", "softwareVersion": __version__}


def timestamp() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def partition_arrays(
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


def results_image(results: Results) -> memoryview:
    """The bytes of `results.h5`."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        _set_attributes(file, results.attributes)
        _add_provenance(file, results)
        _add_layout(file, results.layout)
        _add_partition(file, results.partition)
        _add_rounds(file, results.rounds)
        _add_clients(file, results)
        _add_models(file, results.models)
    return image.getbuffer()


def model_image(
    attributes: Mapping[str, str | int], arrays: Mapping[str, np.ndarray], layout: Sequence[Entry]
):
    """The bytes of one model file, as a memoryview: raw and contiguous, for packing costs more than
    it saves.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        _set_attributes(file, attributes)
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=array)
            describe(dataset, name)
            for axis, dimension in enumerate(DIMENSIONS[name]):
                dataset.dims[axis].label = dimension
        _add_layout(file, layout)
    return image.getbuffer()


def model_name(round: int) -> str:
    """The name of a round's group in /models, and of its file without `.h5`; sorts by round up to a
    million.
    """
    return f"round_{round:06d}"


def format_of(path: Path) -> str | None:
    """The `format` an HDF5 file states, None for any other file or none."""
    try:
        with checksum.opened(path) as file:
            return str(file.attrs.get("format"))
    except (OSError, RuntimeError, ValueError, KeyError):
        return None


def _add_provenance(file: h5py.File, results: Results) -> None:
    group = file.create_group("provenance")
    _set_attributes(group, results.provenance)
    for number, resume in enumerate(results.resumes, 1):
        _set_attributes(group.create_group(f"resume_{number:04d}"), resume)


def _add_layout(file: h5py.File, layout: Sequence[Entry]) -> None:
    group = file.create_group("layout")
    shapes = np.zeros((len(layout), max([1, *(len(entry.shape) for entry in layout)])), "i8")
    for row, entry in zip(shapes, layout, strict=True):
        row[: len(entry.shape)] = entry.shape
    _dimension(group, "tensor", len(layout))
    _dimension(group, "axis", shapes.shape[1])
    _add(group, "shape", shapes, "tensor", "axis")
    _add(group, "ndim", np.array([len(entry.shape) for entry in layout], "i8"), "tensor")
    for name in ("size", "offset"):
        _add(group, name, np.array([getattr(entry, name) for entry in layout], "i8"), "tensor")
    for name in ("name", "kind"):
        _add(group, name, np.array([getattr(entry, name) for entry in layout], object), "tensor")


def _add_partition(file: h5py.File, partition: Mapping[str, np.ndarray]) -> None:
    group = file.create_group("partition")
    clients, labels = partition["label_counts"].shape
    _dimension(group, "sample", len(partition["indices"]))
    _dimension(group, "boundary", clients + 1)
    _scale(group, "client", np.arange(clients))
    _scale(group, "label", np.arange(labels))
    _add(group, "indices", partition["indices"], "sample")
    _add(group, "offsets", partition["offsets"], "boundary")
    _add(group, "label_counts", partition["label_counts"], "client", "label", packed=clients > MANY)


def _add_rounds(file: h5py.File, rounds: Mapping[str, np.ndarray]) -> None:
    group = file.create_group("rounds")
    _scale(group, "round", rounds["round"])
    for name, column in rounds.items():
        if name != "round":
            _add(group, name, column, "round")


def _add_clients(file: h5py.File, results: Results) -> None:
    """Arrays (rounds, clients); of many clients, few of whom play, what the cohorts reported, one
    after the other.
    """
    group, cohorts = file.create_group("clients"), results.clients
    _scale(group, "round", results.rounds["round"])
    if cohorts.clients <= MANY:
        _scale(group, "client", np.arange(cohorts.clients))
        _add(group, "num_samples", np.diff(results.partition["offsets"]), "client")
        for name, column in cohorts.items():
            _add(group, name, column, "round", "client")
        return
    _dimension(group, "participation", len(cohorts.ids))
    _dimension(group, "boundary", len(cohorts.offsets))
    _add(group, "cohort", cohorts.ids, "participation")
    _add(group, "offsets", cohorts.offsets, "boundary")
    for name, values in cohorts.values.items():
        _add(group, name, values, "participation")


def _add_models(file: h5py.File, models: Mapping[int, Sequence[str]]) -> None:
    group = file.create_group("models")
    _scale(group, "round", np.array(list(models), "i8"))
    for round, names in models.items():
        target = group.create_group(model_name(round))
        # links to datasets: a link to their group keeps xarray from opening the file as a tree
        for name in names:
            target[name] = h5py.ExternalLink(f"models/{model_name(round)}.h5", f"/{name}")


def _scale(group: h5py.Group, name: str, values: np.ndarray) -> None:
    dataset = group.create_dataset(name, data=values.astype("i8"))
    describe(dataset, name)
    dataset.make_scale(name)


def _dimension(group: h5py.Group, name: str, size: int) -> None:
    # never written: takes no room
    group.create_dataset(name, (size,), ">f4").make_scale(_BARE % size)


def _add(
    group: h5py.Group, name: str, array: np.ndarray, *scales: str, packed: bool = False
) -> None:
    """A dataset; integers are i8 in it, which takes little room when `packed`."""
    kinds = {"O": _TEXT, "i": np.dtype("i8")}
    chunks = (min(1 << 12, len(array)), *array.shape[1:])
    how = {"chunks": chunks, "compression": 1, "shuffle": True} if packed else {}
    dataset = group.create_dataset(
        name, array.shape, kinds.get(array.dtype.kind, array.dtype), **how
    )
    dataset[...] = array
    describe(dataset, name)
    for axis, scale in enumerate(scales):
        dataset.dims[axis].attach_scale(group[scale])


def _set_attributes(group: h5py.Group, attributes: Mapping[str, str | int | float | list]) -> None:
    for name, value in attributes.items():
        if isinstance(value, list):
            group.attrs[name] = [_storable(item) for item in value] or h5py.Empty("f4")
        else:
            group.attrs[name] = _storable(value)


def _storable(value: str | int | float) -> str | int | float:
    """Booleans as 0 and 1, which netCDF knows; text as valid Unicode, which the environment's need
    not be.
    """
    if isinstance(value, str):
        return (
            value.encode("utf-8", "surrogateescape")
            .decode("utf-8", "replace")
            .replace("\0", "\ufffd")
        )
    return int(value) if isinstance(value, bool) else value
