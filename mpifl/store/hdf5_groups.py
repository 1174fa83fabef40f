"""The groups of a results file, as values of Python and numpy."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from mpifl.flat_layout import Entry
from mpifl.store import datasets, evaluations, validate
from mpifl.store.attributes import read_attributes
from mpifl.store.round_tables import RESERVED, Cohorts


def arrays(content: h5py.File, name: str) -> dict[str, np.ndarray]:
    """The arrays of a group that older runs lack, without those that only name a dimension."""
    found = {}
    for array_name, dataset in content.get(name, {}).items():
        is_dimension = array_name in ("sample", "boundary", "plugin", "rank", *evaluations.AXES)
        if not is_dimension:
            found[array_name] = datasets.whole(dataset)
    return found


def stored_provenance(content: h5py.File) -> list[dict[str, Any]]:
    """The provenance of the run's start, then of each resume, as they stand in the file."""
    group = content["provenance"]
    resumes = [item for item in group.values() if isinstance(item, h5py.Group)]
    return [read_attributes(stored) for stored in (group, *resumes)]


def notes(content: h5py.File) -> dict[str, str]:
    """The notes in a packed file, by name."""
    if "notes" not in content:
        return {}
    return {name: str(datasets.whole(dataset)) for name, dataset in content["notes"].items()}


def cohorts(group: h5py.Group, clients: int) -> Cohorts:
    """What each round's clients have reported, of so many clients."""
    if "cohort" not in group:
        by_round = {}
        for name, dataset in group.items():
            if dataset.ndim == 2:
                by_round[name] = datasets.whole(dataset)
        return Cohorts.of_arrays(by_round)
    reported = {name: datasets.whole(group[name]) for name in group if name not in RESERVED}
    ids = datasets.whole(group["cohort"])
    return Cohorts(clients, ids, datasets.whole(group["offsets"]), reported)


def layout(group: h5py.Group) -> list[Entry]:
    """Where each tensor lies in the flat weights and buffers."""
    names = ("name", "kind", "shape", "ndim", "offset", "size")
    columns = [datasets.whole(group[name]).tolist() for name in names]
    entries = []
    for name, kind, shape, ndim, offset, size in zip(*columns, strict=True):
        entries.append(Entry(name, kind, tuple(shape[:ndim]), offset, size))
    return entries


def array_of(model: h5py.Group, name: str, *lengths: int | None) -> np.ndarray:
    """An array of numbers, of these lengths (None: any). Raises ValueError for another."""
    array = datasets.whole(model[name])
    validate.check_array(name, array, "fi", lengths)
    return array
