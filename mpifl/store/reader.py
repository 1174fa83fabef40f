"""Run: everything that a run has stored, read from its folder or its packed file without locking or
writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mpifl.options import BadInput
from mpifl.store import validate
from mpifl.store.hdf5_layout import FORMAT, FORMAT_VERSION, MODEL_FORMAT, Entry, model_name
from mpifl.store.round_tables import TAKEN, Cohorts
from mpifl.store.run_folder import RESULTS
from mpifl.store.validate import opened

OTHERS_TESTED = {
    "test_accuracy_cohort": "mean of the cohort's models",
    "test_accuracy_all": "mean of all clients' latest models",
    "test_accuracy_clients": "the cohort's own models, on average",
}
"""columns of /rounds with accuracies beside the server's, in words"""


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One run as it was at one commit. All but the weights is in memory: a live writer changes
    nothing in it.
    """

    path: Path
    """the run folder, or the packed file"""
    file: Path
    """the HDF5 file read: the folder's results.h5, or the packed file"""
    attrs: Mapping[str, str | int]
    provenance: Mapping[str, str | int | float | list]
    layout: list[Entry]
    rounds: Mapping[str, np.ndarray]
    """`round` and every column, each (R); text as objects"""
    clients: Cohorts
    """by name, columns (R, C): float32, NaN where a client took no part; `participated` of 0 and 1
    """
    indices: np.ndarray
    """(N) of the training samples, one client's after the other's"""
    offsets: np.ndarray
    """(C + 1): client c's begin at `offsets[c]`"""
    label_counts: np.ndarray
    """(C, K) i8"""
    saved_rounds: list[int]
    """rounds whose weights are kept"""
    saved_arrays: Mapping[int, tuple[str, ...]]
    """which arrays are kept of each of them"""
    resumes: list[Mapping[str, str | int | float | list]]
    """for each time that the run was resumed: `time`, the last `round` before, and the provenance
    then
    """

    @staticmethod
    def open(path: str | Path) -> Run:
        """Read a run: its folder, its results.h5 or a packed file. Raises BadInput for anything
        else.
        """
        path = Path(path)
        file = path / RESULTS if path.is_dir() else path
        with _opened(file) as content:
            return _read(file.parent if file.name == RESULTS else file, file, content)

    @property
    def config(self) -> str:
        """The run's configuration, as TOML text."""
        return str(self.attrs["config"])

    @property
    def status(self) -> str:
        """running, complete, stopped or failed; `running` is also what a killed run says."""
        return str(self.attrs["status"])

    @property
    def seed(self) -> int:
        return int(self.attrs["seed"])

    @property
    def run_id(self) -> str:
        return str(self.attrs["run_id"])

    def part(self, client: int) -> np.ndarray:
        """The indices of a client's training samples."""
        return self.indices[self.offsets[client] : self.offsets[client + 1]]

    def weights(self, round: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Global weights `[d]` and buffers `[b]` after `round` (the last saved). Raises BadInput if
        not saved.
        """
        with self._model(round) as model:
            return _checked(model, "global", None), _checked(model, "buffers", None)

    def client_weights(self, round: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids `[k]`, weights `[k, d]` and buffers `[k, b]` of the clients saved with `round`.
        Raises as `weights`.
        """
        with self._model(round) as model:
            if "client_ids" not in model:
                raise BadInput(
                    f"{self.path}: expected a round saved with its clients' weights; got one without"
                )
            ids = _checked(model, "client_ids", None)
            weights, none = (
                _checked(model, "clients", len(ids), None),
                np.zeros((len(ids), 0), "f4"),
            )
            buffers = (
                _checked(model, "client_buffers", len(ids), None)
                if "client_buffers" in model
                else none
            )
            return ids, weights, buffers

    @contextmanager
    def _model(self, round: int | None) -> Iterator[h5py.Group]:
        if not self.saved_rounds:
            raise BadInput(
                f"{self.path}: expected a run with saved weights; got none saved (results.weights_every)"
            )
        round = self.saved_rounds[-1] if round is None else round
        if round not in self.saved_rounds:
            raise BadInput(
                f"{self.path}: expected one of the saved rounds {self.saved_rounds}; got {round}"
            )
        with _opened(self.file) as content:
            if content.attrs["run_id"] != self.run_id:
                raise BadInput(
                    f"{self.path}: expected run {self.run_id}; got another that has taken its place"
                )
            model = content["models"][model_name(round)]
            link = model.get("global", getlink=True)
            if isinstance(link, h5py.ExternalLink):
                with model_opened(self.file, link.filename, round, self.run_id) as model:
                    yield model
            else:
                yield model


def _opened(file: Path) -> AbstractContextManager[h5py.File]:
    return opened(file, "a run's folder, its results.h5 or a packed file", FORMAT, FORMAT_VERSION)


@contextmanager
def model_opened(results: Path, name: str, round: int, run_id: str) -> Iterator[h5py.File]:
    """The weights of a round: the file `name` beside the results (not beside a symbolic link to
    them). Or BadInput.
    """
    file = results.resolve().parent / name
    with opened(file, "the weights of a round", MODEL_FORMAT, FORMAT_VERSION) as content:
        for what, wanted in (("run_id", run_id), ("round", round)):
            if (got := content.attrs[what]) != wanted:
                raise BadInput(
                    f"{file}: expected the weights of {what} {wanted}; got those of {got}"
                )
        yield content


def _checked(model: h5py.Group, name: str, *lengths: int | None) -> np.ndarray:
    array = model[name][...]
    validate.refuse_array(name, array, "fi", lengths)
    return array


def _read(path: Path, file: Path, content: h5py.File) -> Run:
    partition = {
        name: content["partition"][name][...] for name in ("indices", "offsets", "label_counts")
    }
    attrs, rounds = (
        _attributes(content),
        {name: _array(dataset) for name, dataset in content["rounds"].items()},
    )
    clients = _cohorts(content["clients"], len(partition["offsets"]) - 1)
    validate.refuse(attrs, partition, rounds, clients)
    models = {
        round: content["models"][model_name(round)]
        for round in content["models"]["round"][...].tolist()
    }
    return Run(
        path=path,
        file=file,
        attrs=attrs,
        provenance=_attributes(content["provenance"]),
        layout=_layout(content["layout"]),
        rounds=rounds,
        clients=clients,
        **partition,
        saved_rounds=list(models),
        saved_arrays={round: tuple(group.keys()) for round, group in models.items()},
        resumes=[_attributes(group) for group in content["provenance"].values()],
    )


def _cohorts(group: h5py.Group, clients: int) -> Cohorts:
    if "cohort" not in group:
        return Cohorts.of_arrays(
            {name: _array(group[name]) for name in group if group[name].ndim == 2}
        )
    values = {name: _array(group[name]) for name in group if name not in TAKEN}
    return Cohorts(clients, group["cohort"][...], group["offsets"][...], values)


def _attributes(group: h5py.Group) -> dict[str, str | int | float | list]:
    return {name: _plain(value) for name, value in group.attrs.items()}


def _layout(group: h5py.Group) -> list[Entry]:
    columns = {
        name: _array(group[name]).tolist()
        for name in ("name", "kind", "shape", "ndim", "offset", "size")
    }
    return [
        Entry(name, kind, tuple(shape[:ndim]), offset, size)
        for name, kind, shape, ndim, offset, size in zip(*columns.values(), strict=True)
    ]


def _array(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[...] if h5py.check_string_dtype(dataset.dtype) else dataset[...]


def _plain(value: object) -> object:
    if isinstance(value, h5py.Empty):
        return []
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
