"""Run: what a run has stored, read from its folder or packed file, without locks or writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpifl.config import parse
from mpifl.flat_layout import Entry
from mpifl.options import BadInput, checked_path
from mpifl.store import hdf5_groups, model_files, validate
from mpifl.store.attributes import Attributes
from mpifl.store.contents import (
    FORMAT,
    FORMAT_VERSION,
    OTHER_PLUGINS,
    OTHER_SCHEDULE,
    Results,
    model_name,
)
from mpifl.store.plugin_texts import StoredPlugin
from mpifl.store.round_tables import Cohorts
from mpifl.store.run_folder import RESULTS

_EXPECTED = "a run's folder, its results.h5 or a packed file"


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One run as it was at one commit.

    All but the weights is in memory, and a live writer changes nothing in it. R rounds, C clients,
    N training samples, K classes, d weights, b buffers.
    """

    path: Path
    """the run folder, or the packed file"""
    file: Path
    """the HDF5 file that was read: the folder's results.h5, or the packed file"""
    attrs: Mapping[str, Any]
    provenance: Attributes
    """with what it was made and where; without secrets that old files may hold"""
    layout: list[Entry]
    """where each tensor lies in the flat weights and buffers"""
    rounds: Mapping[str, np.ndarray]
    """`round` and every other column, each (R); text as objects"""
    clients: Cohorts
    """arrays (R, C) by name: float32, NaN where a client took no part; `participated` is 0 or 1"""
    indices: np.ndarray
    """(N) of the training samples, client after client"""
    offsets: np.ndarray
    """(C + 1): where each client's samples begin in `indices`, and the end"""
    label_counts: np.ndarray
    """(C, K) i8"""
    saved_rounds: list[int]
    """rounds whose weights are stored"""
    saved_arrays: Mapping[int, Sequence[str]]
    """the names of the arrays stored for each saved round"""
    resumes: Sequence[Attributes]
    """for each resume: its `time`, the last `round` before it, and its provenance"""
    notes: Mapping[str, str]
    """the notes in a packed file, by name; those of a folder are read by `notes`"""
    evaluations: Mapping[str, np.ndarray] = field(default_factory=dict)
    """what each evaluation has counted: `round` (E) and arrays (E, n) by name, such as
    `own_right_by_client`; see evaluations.py
    """
    holdout: Mapping[str, np.ndarray] = field(default_factory=dict)
    """what never trains: indices and offsets of the clients' own test sets, `trains` (C), and the
    names of left-out `domains`
    """
    plugins: Sequence[StoredPlugin] = ()
    """the user's own code that it was trained with, as text"""
    timeline: Mapping[str, np.ndarray] = field(default_factory=dict)
    """what each rank spent its time on: `round` (R), and `train`, `test`, `wait`, `write`
    (R, ranks) in seconds; empty for older runs; see timeline.py
    """

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self.status}, {len(self.rounds['round'])} rounds>"

    @staticmethod
    def open(path: str | PathLike[str]) -> Run:
        """Read a run: its folder, its results.h5 or a packed file. Raises BadInput for the rest."""
        path = checked_path("run", path)
        try:
            file = path / RESULTS if path.is_dir() else path
        except OSError as problem:
            raise BadInput(f"{path}: expected {_EXPECTED}; got {problem.strerror}") from problem
        with _opened(file) as content:
            return _read(file, content)

    @property
    def config(self) -> str:
        """The run's configuration, as TOML text."""
        return str(self.attrs["config"])

    @property
    def status(self) -> str:
        """running, complete, stopped or failed. A run that was killed says `running` too."""
        return str(self.attrs["status"])

    @property
    def other_schedule(self) -> str:
        """How the run was resumed with another schedule than its first rounds had; else ""."""
        return str(self.attrs.get(OTHER_SCHEDULE, ""))

    @property
    def resumed_otherwise(self) -> str:
        """How the run was resumed with another schedule or other plugins; else "".

        Such a run is no repeat of one that was never stopped.
        """
        marks = (self.other_schedule, str(self.attrs.get(OTHER_PLUGINS, "")))
        return "; ".join(mark for mark in marks if mark)

    @property
    def seed(self) -> int:
        return int(self.attrs["seed"])

    @property
    def run_id(self) -> str:
        return str(self.attrs["run_id"])

    def version_of(self, round: int) -> str:
        """The version of mpifl that trained `round`; "" where it was not stored."""
        version = self.provenance.get("version_mpifl", "")
        for resume in self.resumes:
            before = resume["round"]
            if isinstance(before, int) and before < round:
                version = resume.get("version_mpifl", "")
        return str(version)

    @property
    def trains(self) -> np.ndarray:
        """bool (C): whether each client may train; the others are held out."""
        if not self.holdout:
            return np.ones(len(self.offsets) - 1, bool)
        return self.holdout["trains"] > 0

    @property
    def left_out(self) -> tuple[str, ...]:
        """The domains that never train, by name: those of the test set. Empty: none."""
        return tuple(self.holdout.get("domains", ()))

    def own_test(self, client: int) -> np.ndarray:
        """The indices of a client's own test set, of the training split; empty without one."""
        if not self.holdout:
            return np.zeros(0, "i8")
        offsets = self.holdout["offsets"]
        return self.holdout["indices"][offsets[client] : offsets[client + 1]]

    def whole_partition(self) -> tuple[np.ndarray, np.ndarray]:
        """Every client's samples, those held out too: indices and offsets, as for training.

        Raises BadInput where some samples neither train nor are tested on, and so are not stored.
        """
        if not self.holdout:
            return self.indices, self.offsets
        stored = parse(self.config, str(self.path))
        if stored["holdout"]["unseen"] == "share" and not self.trains.all():
            raise BadInput(
                f"{self.path}: expected a run that tests on all samples of unseen clients; got one "
                'with holdout.unseen = "share", which stores only a part of the partition'
            )
        clients = len(self.offsets) - 1
        indices = []
        for client in range(clients):
            indices.append(np.sort(np.concatenate([self.part(client), self.own_test(client)])))
        sizes = np.diff(self.offsets) + np.diff(self.holdout["offsets"])
        return np.concatenate(indices), np.concatenate([[0], np.cumsum(sizes)])

    def part(self, client: int) -> np.ndarray:
        """The indices of a client's training samples."""
        return self.indices[self.offsets[client] : self.offsets[client + 1]]

    def weights(self, round: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Global weights `[d]` and buffers `[b]` after `round` (default: the last saved one).

        Raises BadInput if they are not stored.
        """
        with self._model(round) as model:
            weights = hdf5_groups.array_of(model, "global", None)
            return weights, hdf5_groups.array_of(model, "buffers", None)

    def average(self, round: int | None = None) -> np.ndarray:
        """The server's second model `[d]` after `round` (default: the last saved one).

        Raises BadInput if it is not stored: with `evaluation.models = ["average"]` it is.
        """
        with self._model(round) as model:
            if "average" not in model:
                raise BadInput(
                    f"{self.path}: expected a run that stores the server's second model "
                    '(evaluation.models = ["average"]); got one without'
                )
            return hdf5_groups.array_of(model, "average", None)

    def frozen(self) -> np.ndarray:
        """The weights that never change `[f]`, stored with round 0; empty where all train.

        Raises BadInput if they are not there.
        """
        if not any(entry.kind == "frozen" for entry in self.layout):
            return np.zeros(0, "f4")
        with self._model(0) as model:
            return hdf5_groups.array_of(model, "frozen", None)

    def client_weights(self, round: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids `[k]`, weights `[k, d]` and buffers `[k, b]` of the clients stored with `round`.

        Raises BadInput if they are not stored.
        """
        with self._model(round) as model:
            if "client_ids" not in model:
                raise BadInput(
                    f"{self.path}: expected a round saved with its clients' weights; "
                    "got one without"
                )
            ids = hdf5_groups.array_of(model, "client_ids", None)
            weights = hdf5_groups.array_of(model, "clients", len(ids), None)
            buffers = np.zeros((len(ids), 0), "f4")
            if "client_buffers" in model:
                buffers = hdf5_groups.array_of(model, "client_buffers", len(ids), None)
            return ids, weights, buffers

    def check_unchanged(self) -> None:
        """Raise BadInput if another run has taken the place of this one."""
        with self._opened():
            pass

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        with _opened(self.file) as content:
            if content.attrs["run_id"] != self.run_id:
                raise BadInput(
                    f"{self.path}: expected run {self.run_id}; got another that has taken its place"
                )
            yield content

    def absent_rounds(self) -> list[int]:
        """Saved rounds whose weights are not here: their files were not copied with the results."""
        absent = []
        with _opened(self.file) as content:
            models = content["models"]
            for round in self.saved_rounds:
                name = model_name(round)
                if name not in models:  # a resume has removed it since this run was read
                    continue
                if not model_files.is_here(self.file, models[name]):
                    absent.append(round)
        return absent

    @contextmanager
    def _model(self, round: int | None) -> Iterator[h5py.Group]:
        """The arrays of a saved round: in a file of their own, or inside the packed file."""
        round = self._saved(round)
        with self._opened() as content:
            group = content["models"][model_name(round)]
            with model_files.opened_arrays(self.file, group, round, self.run_id) as model:
                yield model

    def _saved(self, round: int | None) -> int:
        """`round`, or the last saved one. Raises BadInput unless its weights are stored."""
        if not self.saved_rounds:
            raise BadInput(
                f"{self.path}: expected a run with saved weights; "
                "got none saved (results.weights_every)"
            )
        if round is None:
            return self.saved_rounds[-1]
        if round not in self.saved_rounds:
            raise BadInput(
                f"{self.path}: expected one of the saved rounds {self.saved_rounds}; got {round}"
            )
        return round


def as_results(run: Run) -> Results:
    """What is in a run's `results.h5`, to write it again. Weights are not in it."""
    return Results(
        attributes=run.attrs,
        provenance=run.provenance,
        layout=run.layout,
        partition={
            "indices": run.indices,
            "offsets": run.offsets,
            "label_counts": run.label_counts,
        },
        rounds=run.rounds,
        clients=run.clients,
        models=run.saved_arrays,
        resumes=run.resumes,
        evaluations=run.evaluations,
        holdout=run.holdout,
        plugins=run.plugins,
        timeline=run.timeline,
    )


def _opened(file: Path) -> AbstractContextManager[h5py.File]:
    return validate.opened(file, _EXPECTED, FORMAT, FORMAT_VERSION)


def _read(file: Path, content: h5py.File) -> Run:
    stored = hdf5_groups.results(content)
    return Run(
        path=file.parent if file.name == RESULTS else file,
        file=file,
        attrs=stored.attributes,
        provenance=stored.provenance,
        layout=list(stored.layout),
        rounds=stored.rounds,
        clients=stored.clients,
        **stored.partition,
        saved_rounds=list(stored.models),
        saved_arrays=stored.models,
        resumes=stored.resumes,
        notes=hdf5_groups.notes(content),
        evaluations=stored.evaluations,
        holdout=stored.holdout,
        plugins=stored.plugins,
        timeline=stored.timeline,
    )
