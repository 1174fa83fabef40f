"""What is in `results.h5` and `models/round_*.h5`: `contents.py` as HDF5, built in memory.

Every array of `results.h5` is attached to netCDF-4 dimension scales of its own group, so that each
group opens by itself in xarray. Arrays of model files have named dimensions but no scales: they are
read through external links, and a scale is an object reference, which is not valid in another file.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5ds

from mpifl.config import toml
from mpifl.flat_layout import Entry
from mpifl.options import BadInput
from mpifl.store import checksum, plugin_texts, timeline
from mpifl.store.arrays import DIMENSIONS
from mpifl.store.attributes import Attributes, write_attributes
from mpifl.store.contents import Results, model_file, model_name
from mpifl.store.evaluations import axis_of, is_fixed
from mpifl.store.long_names import describe
from mpifl.store.plugin_texts import StoredPlugin
from mpifl.store.round_tables import Cohorts

_NO_COORDINATES = "This is a netCDF dimension but not a netCDF variable. %10d"
_TEXT = h5py.string_dtype()

MANY = 10_000
"""With more clients, what /partition says of each is compressed."""
LARGEST_BY_ROUND = 200_000
"""values; arrays (rounds, clients) of /clients that will have no more are stored as they are"""
FULL_ENOUGH = 0.25
"""part of larger arrays (rounds, clients) that must be filled; with less, cohorts are stored"""


def results_image(results: Results) -> memoryview:
    """The bytes of `results.h5`."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        write_attributes(file, results.attributes)
        _add_provenance(file, results)
        _add_layout(file, results.layout)
        _add_partition(file, results.partition)
        _add_rounds(file, results.rounds)
        _add_clients(file, results)
        _add_evaluations(file, results.evaluations)
        _add_timeline(file, results.timeline)
        _add_holdout(file, results.holdout)
        _add_plugins(file, results.plugins)
        _add_models(file, results.models)
    return image.getbuffer()


def model_image(
    attributes: Attributes, arrays: Mapping[str, np.ndarray], layout: Sequence[Entry]
) -> memoryview:
    """The bytes of one model file.

    Arrays are raw and contiguous: compressing them costs more than it saves.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        write_attributes(file, attributes)
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=array)
            describe(dataset, name)
            for axis, dimension in enumerate(DIMENSIONS[name]):
                dataset.dims[axis].label = dimension
        _add_layout(file, layout)
    return image.getbuffer()


def format_of(path: Path) -> str | None:
    """The `format` attribute of an HDF5 file of mpifl; None for any other file, or without one."""
    try:
        with checksum.opened(path) as file:
            return str(file.attrs.get("format"))
    except (OSError, RuntimeError, ValueError, KeyError):
        return None


def _add_provenance(file: h5py.File, results: Results) -> None:
    group = file.create_group("provenance")
    write_attributes(group, results.provenance)
    for number, resume in enumerate(results.resumes, 1):
        write_attributes(group.create_group(f"resume_{number:04d}"), resume)


def _add_layout(file: h5py.File, layout: Sequence[Entry]) -> None:
    group = file.create_group("layout")
    axes = max((len(entry.shape) for entry in layout), default=0)
    shapes = np.zeros((len(layout), max(1, axes)), "i8")
    for row, entry in zip(shapes, layout, strict=True):
        row[: len(entry.shape)] = entry.shape
    columns = {
        "ndim": np.array([len(entry.shape) for entry in layout], "i8"),
        "size": np.array([entry.size for entry in layout], "i8"),
        "offset": np.array([entry.offset for entry in layout], "i8"),
        "name": np.array([entry.name for entry in layout], object),
        "kind": np.array([entry.kind for entry in layout], object),
    }
    _add_dimension(group, "tensor", len(layout))
    _add_dimension(group, "axis", shapes.shape[1])
    _add(group, "shape", shapes, "tensor", "axis")
    for name, column in columns.items():
        _add(group, name, column, "tensor")


def _add_partition(file: h5py.File, partition: Mapping[str, np.ndarray]) -> None:
    group = file.create_group("partition")
    clients, labels = partition["label_counts"].shape
    _add_dimension(group, "sample", len(partition["indices"]))
    _add_dimension(group, "boundary", clients + 1)
    _add_scale(group, "client", np.arange(clients))
    _add_scale(group, "label", np.arange(labels))
    _add(group, "indices", partition["indices"], "sample")
    _add(group, "offsets", partition["offsets"], "boundary")
    counts = partition["label_counts"]
    _add(group, "label_counts", counts, "client", "label", compressed=clients > MANY)


def _add_rounds(file: h5py.File, rounds: Mapping[str, np.ndarray]) -> None:
    group = file.create_group("rounds")
    _add_scale(group, "round", rounds["round"])
    for name, column in rounds.items():
        if name != "round":
            _add(group, name, column, "round")


def _add_clients(file: h5py.File, results: Results) -> None:
    """Arrays (rounds, clients), or the cohorts' values in turn where these are mostly empty."""
    group = file.create_group("clients")
    _add_scale(group, "round", results.rounds["round"])
    if _is_by_round(results):
        _add_clients_by_round(group, results)
    else:
        _add_cohorts(group, results.clients)


def _is_by_round(results: Results) -> bool:
    """Whether /clients has arrays (rounds, clients).

    The number of rounds is that of the whole run, so that the layout does not change during it.
    """
    cohorts = results.clients
    rounds = max(cohorts.rounds, _planned_rounds(str(results.attributes["config"])))
    if rounds * cohorts.clients <= LARGEST_BY_ROUND:
        return True
    return len(cohorts.ids) >= FULL_ENOUGH * cohorts.rounds * cohorts.clients > 0


@lru_cache(maxsize=8)
def _planned_rounds(config: str) -> int:
    """How many rounds the TOML text of a run plans; 0 where it does not say."""
    try:
        rounds = toml(config, "the config of a run").get("rounds")
    except BadInput:  # results are kept also where their config cannot be read
        return 0
    return rounds if isinstance(rounds, int) else 0


def _add_clients_by_round(group: h5py.Group, results: Results) -> None:
    _add_scale(group, "client", np.arange(results.clients.clients))
    _add(group, "num_samples", np.diff(results.partition["offsets"]), "client")
    for name, array in results.clients.items():
        _add(group, name, array, "round", "client")


def _add_cohorts(group: h5py.Group, cohorts: Cohorts) -> None:
    _add_dimension(group, "participation", len(cohorts.ids))
    _add_dimension(group, "boundary", len(cohorts.offsets))
    _add(group, "cohort", cohorts.ids, "participation")
    _add(group, "offsets", cohorts.offsets, "boundary")
    for name, values in cohorts.reported.items():
        _add(group, name, values, "participation")


def _add_evaluations(file: h5py.File, arrays: Mapping[str, np.ndarray]) -> None:
    if not arrays:
        return
    group = file.create_group("evaluations")
    _add_scale(group, "round", arrays["round"])
    for name, array in arrays.items():
        if name == "round":
            continue
        axis = axis_of(name)
        if axis not in group:
            _add_scale(group, axis, np.arange(array.shape[-1]))
        axes = (axis,) if is_fixed(name) else ("round", axis)
        _add(group, name, array, *axes)


def _add_timeline(file: h5py.File, arrays: Mapping[str, np.ndarray]) -> None:
    if not arrays:
        return
    group = file.create_group("timeline")
    _add_scale(group, "round", arrays["round"])
    _add_scale(group, "rank", np.arange(arrays[timeline.NAMES[0]].shape[1]))
    for name in timeline.NAMES:
        if name in arrays:
            _add(group, name, arrays[name], "round", "rank")


def _add_holdout(file: h5py.File, arrays: Mapping[str, np.ndarray]) -> None:
    if not arrays:
        return
    group = file.create_group("holdout")
    _add_dimension(group, "sample", len(arrays["indices"]))
    _add_dimension(group, "boundary", len(arrays["offsets"]))
    _add_scale(group, "client", np.arange(len(arrays["trains"])))
    _add(group, "indices", arrays["indices"], "sample")
    _add(group, "offsets", arrays["offsets"], "boundary")
    _add(group, "trains", arrays["trains"], "client")
    if "domains" in arrays:
        _add_dimension(group, "domain", len(arrays["domains"]))
        _add(group, "domains", arrays["domains"], "domain")


def _add_plugins(file: h5py.File, plugins: Sequence[StoredPlugin]) -> None:
    if not plugins:
        return
    group = file.create_group("plugins")
    _add_dimension(group, "plugin", len(plugins))
    for name, column in plugin_texts.arrays(plugins).items():
        _add(group, name, column, "plugin")


def _add_models(file: h5py.File, models: Mapping[int, Sequence[str]]) -> None:
    group = file.create_group("models")
    _add_scale(group, "round", np.array(list(models), "i8"))
    for round, names in models.items():
        target = group.create_group(model_name(round))
        # links to datasets: a link to their group keeps xarray from opening the file as a tree
        for name in names:
            target[name] = h5py.ExternalLink(model_file(round), f"/{name}")


def _add_scale(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """A dimension with coordinates."""
    dataset = group.create_dataset(name, data=values.astype("i8"))
    describe(dataset, name)
    dataset.make_scale(name)


def _add_dimension(group: h5py.Group, name: str, size: int) -> None:
    """A dimension without coordinates: a dataset that is never written, so it takes no room."""
    group.create_dataset(name, (size,), ">f4").make_scale(_NO_COORDINATES % size)


def _add(
    group: h5py.Group,
    name: str,
    array: np.ndarray,
    *scales: str,
    compressed: bool = False,
) -> None:
    """A dataset along these dimensions. Integers are stored as i8, which compress well."""
    dtypes = {"O": _TEXT, "i": np.dtype("i8")}
    dtype = dtypes.get(array.dtype.kind, array.dtype)
    filters: dict[str, Any] = {}
    if compressed:
        chunks = (min(1 << 12, len(array)), *array.shape[1:])
        filters = {"chunks": chunks, "compression": 1, "shuffle": True}
    dataset = group.create_dataset(name, array.shape, dtype, data=array, **filters)
    describe(dataset, name)
    for axis, scale in enumerate(scales):
        h5ds.attach_scale(dataset.id, h5d.open(group.id, scale.encode()), axis)
