"""What is stored of a run, before it is a file: records, names of files and attributes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from mpifl import __version__
from mpifl.flat_layout import Entry
from mpifl.store.attributes import Attributes
from mpifl.store.plugin_texts import StoredPlugin
from mpifl.store.round_tables import Cohorts

FORMAT = "mpifl-run"
MODEL_FORMAT = "mpifl-model"
FORMAT_VERSION = 1
OTHER_SCHEDULE = "other_schedule"
OTHER_SCHEDULE_UNTIL = "other_schedule_until"
"""attributes of a run that was resumed with another schedule than its first rounds had: in words,
and the last round of the other schedule
"""
OTHER_PLUGINS = "other_plugins"
"""attribute of a run that was resumed with other plugins than its first rounds had, in words"""
LOST_UNTIL = "lost_until"
"""attribute of a run whose first rows were lost with a damaged file: the last of these rounds"""

OTHERS_TESTED = {
    "test_accuracy_cohort": "mean of the cohort's models",
    "test_accuracy_all": "mean of all clients' latest models",
    "test_accuracy_clients": "the cohort's own models, on average",
}
"""columns of /rounds with accuracies of other models than the server's, in words"""


class Partition(NamedTuple):
    """Who has which training samples: client c has `indices[offsets[c] : offsets[c + 1]]`."""

    indices: np.ndarray
    """(N) i8"""
    offsets: np.ndarray
    """(C + 1) i8"""
    label_counts: np.ndarray
    """(C, K) integers: samples of each class"""


@dataclass(frozen=True)
class Results:
    """Everything in `results.h5`."""

    attributes: Attributes
    provenance: Attributes
    layout: Sequence[Entry]
    partition: Mapping[str, np.ndarray]
    """the arrays of a Partition by name"""
    rounds: Mapping[str, np.ndarray]
    """columns (R) by name, `round` among them"""
    clients: Cohorts
    models: Mapping[int, Sequence[str]]
    """the names of the saved arrays, by round"""
    resumes: Sequence[Attributes] = ()
    """the provenance of each resume"""
    evaluations: Mapping[str, np.ndarray] = field(default_factory=dict)
    """what evaluations have counted, by name: see evaluations.py"""
    holdout: Mapping[str, np.ndarray] = field(default_factory=dict)
    """the clients' own test sets as in a partition (indices, offsets), which clients train, and the
    domains that do not
    """
    plugins: Sequence[StoredPlugin] = ()
    timeline: Mapping[str, np.ndarray] = field(default_factory=dict)
    """what each rank spent its time on, by name: see timeline.py"""


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
    """The attributes that say which software wrote a file; their names are openPMD's."""
    return {"software": "mpifl", "softwareVersion": __version__}


def timestamp() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def partition_arrays(
    partition: tuple[np.ndarray, np.ndarray, np.ndarray], clients: int
) -> dict[str, np.ndarray]:
    """The arrays of a Partition by name. Raises ValueError if their shapes do not fit."""
    indices = np.asarray(partition[0], "i8")
    offsets = np.asarray(partition[1], "i8")
    label_counts = np.asarray(partition[2])
    if (
        offsets.shape != (clients + 1,)
        or len(label_counts) != clients
        or offsets[-1] != len(indices)
    ):
        raise ValueError(
            f"partition: expected (N), ({clients + 1}) ending with N, ({clients}, K); "
            f"got {indices.shape}, {offsets.shape}, {label_counts.shape}"
        )
    return {"indices": indices, "offsets": offsets, "label_counts": label_counts}


def model_name(round: int) -> str:
    """The name of a round's group in /models, and of its file without `.h5`."""
    return f"round_{round:06d}"


def model_file(round: int) -> str:
    """The file of a round's weights, relative to the run folder."""
    return f"models/{model_name(round)}.h5"
