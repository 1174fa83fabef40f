"""Findings: what analysis measures of a run, in `hessian.h5` beside it.

The run's own files are never written.

hessian.h5                                    format, run_id, software ...
  /exact                                      a measurement; its attributes are its settings
    /round_000010/global/eigenvalues          a finding: arrays, and attributes: weights_sha256 ...
    /round_000010/client_000003/diagonal
    /round_000010/clients/disagreement        a finding about all clients of the round
hessian/exact.round_000010.client_000003.h5   its long vectors: diagonal [d], eigenvectors [k, d]

Each finding is stored whole or not at all: for each, `hessian.h5` is rewritten atomically.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpifl.options import BadInput
from mpifl.store import atomic
from mpifl.store.hdf5_layout import software, timestamp
from mpifl.store.reader import Run
from mpifl.store.run_folder import HESSIAN
from mpifl.store.validate import opened

FORMAT = "mpifl-hessian"
FORMAT_VERSION = 1
_VECTORS = f"{FORMAT}-vectors"
_EXPECTED = "what was found about a run (else move it away)"
_NAME = re.compile(r"\w[\w .+=-]{0,99}")
_TEXT = h5py.string_dtype()

Facts = Mapping[str, Any]
"""attributes: text, numbers and lists of them"""


@dataclass(frozen=True)
class Finding:
    """One measured quantity."""

    arrays: Mapping[str, np.ndarray]
    """by name; a single number is an array without axes"""
    facts: Facts = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {name: np.asarray(array) for name, array in self.arrays.items()}
        object.__setattr__(self, "arrays", arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


class Findings:
    """All findings about one run, by path: `measurement/round_000010/model/quantity`.

    Several processes may add findings at the same time: each reads what the others have written
    before it writes.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.file = run.path / HESSIAN if run.path.is_dir() else run.path.with_suffix(f".{HESSIAN}")
        self.settings: dict[str, Facts] = {}
        """of each measurement"""
        self.found: dict[str, Finding] = {}
        self._version: _Version | None = None
        self._refresh()

    @classmethod
    def open(cls, run: Run | str | Path) -> Findings:
        """The findings about a run (its folder, results.h5 or packed file); there may be none yet.

        Raises BadInput for a damaged hessian.h5, and for another run's.
        """
        return cls(run if isinstance(run, Run) else Run.open(run))

    def begin(self, measurement: str, settings: Facts) -> None:
        """Name a measurement that findings will be added to. Writes nothing yet.

        Raises BadInput if there is one of that name with other settings.
        """
        if not _NAME.fullmatch(measurement):
            raise BadInput(
                "--name: expected a name of letters, digits and - _ . + = inside; "
                f"got {measurement!r}"
            )
        self._refresh()
        known = self.settings.get(measurement, settings)
        for name in sorted({*known, *settings}):
            if known.get(name) != settings.get(name):
                raise BadInput(
                    f"{self.file}: expected {name} = {known.get(name)}, as {measurement!r} has "
                    f"been measured; got {settings.get(name)}; "
                    "allowed: the same settings, or another name (--name)"
                )
        self.settings[measurement] = dict(settings)

    def add(self, path: str, finding: Finding) -> None:
        """Write a finding. Raises BadInput if that fails; the findings before are then kept."""
        own_settings = dict(self.settings)
        self._refresh()
        self.settings = {**own_settings, **self.settings}
        self.found[path] = finding
        _write(self.file, self._image())
        self._version = _version(self.file)

    def forget(self, measurement: str) -> None:
        """Leave a measurement out of what is written from now on."""
        self.settings.pop(measurement, None)
        for path in list(self.found):
            if path.split("/")[0] == measurement:
                del self.found[path]

    def under(self, path: str) -> dict[str, Finding]:
        """The findings below `path`, by the rest of their paths."""
        start = f"{path}/"
        return {p.removeprefix(start): f for p, f in self.found.items() if p.startswith(start)}

    def vectors_file(self, path: str) -> Path:
        """The file of a model's long vectors; `path` is `measurement/round_000010/model`."""
        folder = self.file.with_name(self.file.name.removesuffix(".h5"))
        return folder / f"{path.replace('/', '.')}.h5"

    def add_vectors(self, path: str, arrays: Mapping[str, np.ndarray], about: Facts) -> None:
        """Write long vectors of a model; `about` has `weights_sha256`.

        Those stored before stay if they are of the same weights.
        """
        known = self.vectors(path, about["weights_sha256"]) or {}
        image = io.BytesIO()
        with h5py.File(image, "w") as file:
            file.attrs.update({**self._attributes(), "format": _VECTORS, **about})
            for name, array in {**known, **arrays}.items():
                file.create_dataset(name, data=array)
        _write(self.vectors_file(path), image.getbuffer())

    def vectors(self, path: str, weights_sha256: str | None = None) -> dict[str, np.ndarray] | None:
        """The long vectors of a model by name. None if there are none, or none of these weights."""
        file = self.vectors_file(path)
        if not file.exists():
            return None
        with opened(file, _EXPECTED, _VECTORS, FORMAT_VERSION) as content:
            if content.attrs.get("run_id") != self.run.run_id:
                return None
            if weights_sha256 not in (None, content.attrs.get("weights_sha256")):
                return None
            return {name: dataset[...] for name, dataset in content.items()}

    def _attributes(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **software(),
            "run_id": self.run.run_id,
            "updated": timestamp(),
        }

    def _image(self) -> memoryview:
        image = io.BytesIO()
        with h5py.File(image, "w", track_order=True) as file:
            file.attrs.update(self._attributes())
            for measurement, settings in self.settings.items():
                file.require_group(measurement).attrs.update(settings)
            for path, finding in self.found.items():
                group = file.create_group(path)
                group.attrs.update(finding.facts)
                for name, array in finding.arrays.items():
                    if array.dtype.kind in "OU":
                        group.create_dataset(name, data=array.astype(object), dtype=_TEXT)
                    else:
                        group.create_dataset(name, data=array)
        return image.getbuffer()

    def _refresh(self) -> None:
        """Read the file if it has changed since it was read or written here."""
        version = _version(self.file)
        if version is None or version == self._version:
            return
        with opened(self.file, _EXPECTED, FORMAT, FORMAT_VERSION) as content:
            if content.attrs.get("run_id") != self.run.run_id:
                raise BadInput(
                    f"{self.file}: expected findings about run {self.run.run_id}; "
                    "got another run's; move them away"
                )
            self.settings = {name: _plain(group.attrs) for name, group in content.items()}
            self.found = dict(_findings(content))
        self._version = version


_Version = tuple[int, int, int]
"""what changes when a file is replaced: its inode, time and size"""


def _version(file: Path) -> _Version | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _write(file: Path, image: memoryview) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
        atomic.write_hdf5(file, image)
    except OSError as problem:
        raise BadInput(
            f"{file}: expected a place to write; got {problem.strerror}; "
            "earlier findings are kept; fix this, then run the same command again"
        ) from problem


def _findings(group: h5py.Group, path: str = "") -> Iterator[tuple[str, Finding]]:
    """The findings below a group, by path: the groups without groups in them."""
    subgroups = {name: item for name, item in group.items() if isinstance(item, h5py.Group)}
    if not subgroups and path.count("/") >= 2:
        arrays = {name: _array(dataset) for name, dataset in group.items()}
        yield path, Finding(arrays, _plain(group.attrs))
    for name, item in subgroups.items():
        yield from _findings(item, f"{path}/{name}" if path else name)


def _array(dataset: h5py.Dataset) -> np.ndarray:
    if h5py.check_string_dtype(dataset.dtype):
        return dataset.asstr()[...]
    return dataset[...]


def _plain(attributes: h5py.AttributeManager) -> dict[str, Any]:
    """Attributes with Python's own numbers and lists."""
    plain = {}
    for name, value in attributes.items():
        is_numpy = isinstance(value, np.generic | np.ndarray)
        plain[name] = value.tolist() if is_numpy else value
    return plain
