"""What a results file holds, as values of Python and numpy: all of it, and group by group."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from mpifl.flat_layout import Entry
from mpifl.store import datasets, evaluations, plugin_texts, timeline, validate
from mpifl.store.attributes import read_attributes
from mpifl.store.confidential import publishable
from mpifl.store.contents import Results, model_name
from mpifl.store.round_tables import RESERVED, Cohorts


def results(content: h5py.File) -> Results:
    """All that `hdf5_layout.results_image` writes, without secrets that old files may hold.

    Raises ValueError or KeyError for what does not fit together.
    """
    attributes = read_attributes(content)
    partition = {}
    for name in ("indices", "offsets", "label_counts"):
        partition[name] = datasets.whole(content["partition"][name])
    rounds = {name: datasets.whole(dataset) for name, dataset in content["rounds"].items()}
    clients = cohorts(content["clients"], len(partition["offsets"]) - 1)
    validate.check_run(attributes, partition, rounds, clients)
    counted = arrays(content, "evaluations")
    held_out = arrays(content, "holdout")
    evaluations.check(counted, held_out, clients.clients)
    spent = arrays(content, "timeline")
    timeline.check(spent)
    provenance, *resumes = [publishable(stored) for stored in stored_provenance(content)]
    models = {}
    for round in datasets.whole(content["models"]["round"]).tolist():
        models[round] = tuple(content["models"][model_name(round)].keys())
    return Results(
        attributes=attributes,
        provenance=provenance,
        layout=layout(content["layout"]),
        partition=partition,
        rounds=rounds,
        clients=clients,
        models=models,
        resumes=resumes,
        evaluations=counted,
        holdout=held_out,
        plugins=plugin_texts.of_arrays(arrays(content, "plugins")),
        timeline=spent,
    )


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
