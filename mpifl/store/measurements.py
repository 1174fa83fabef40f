"""Findings: what analysis adds to a run, in `hessian.h5` beside it. The run's own files are never
written.

    hessian.h5                                    format, run_id, software ...
      /exact                                      a measurement: attributes say of what, and by which settings
        /round_000010/global/eigenvalues          a finding: arrays, and attributes (weights_sha256, products, seconds)
        /round_000010/client_000003/diagonal
        /round_000010/clients/disagreement        a finding about the round's clients together
    hessian/exact.round_000010.client_000003.h5   its long vectors: diagonal [d], eigenvectors [k, d]

Each finding is there whole or not at all: the small file is rewritten and renamed for each.
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
    """One finished quantity."""

    arrays: Mapping[str, np.ndarray]
    """numbers alone are arrays without axes"""
    facts: Facts = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "arrays", {name: np.asarray(array) for name, array in self.arrays.items()}
        )

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


class Findings:
    """All findings about one run, by path: `measurement/round_000010/model/quantity`.

    Several processes may add at a time: each takes in what the others have written before it
    writes.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.file = run.path / HESSIAN if run.path.is_dir() else run.path.with_suffix(f".{HESSIAN}")
        self._state: tuple | None = None
        self.settings: dict[str, Facts] = {}
        """of each measurement"""
        self.found: dict[str, Finding] = {}
        self._refresh()

    @classmethod
    def open(cls, run: Run | str | Path) -> Findings:
        """What is known of a run (its folder, results.h5 or packed file); nothing yet is no
        mistake.

        Raises BadInput for a damaged hessian.h5, and for another run's.
        """
        return cls(run if isinstance(run, Run) else Run.open(run))

    def begin(self, measurement: str, settings: Facts) -> None:
        """Say what a new measurement is of; BadInput where one of that name has other settings.
        Writes nothing yet.
        """
        if not _NAME.fullmatch(measurement):
            raise BadInput(
                f"--name: expected a name of letters, digits and - _ . + = inside; got {measurement!r}"
            )
        self._refresh()
        known = self.settings.get(measurement, settings)
        for name in sorted({*known, *settings}):
            if known.get(name) != settings.get(name):
                raise BadInput(
                    f"{self.file}: expected {name} = {known.get(name)}, as {measurement!r} has been measured; got "
                    f"{settings.get(name)}; allowed: the same settings, or another name (--name)"
                )
        self.settings[measurement] = dict(settings)

    def add(self, path: str, finding: Finding) -> None:
        """Put a finding on the disk. Raises BadInput where that cannot be; what was there before
        then still is.
        """
        mine = dict(self.settings)
        self._refresh()
        self.settings = {**mine, **self.settings}
        self.found[path] = finding
        _write(self.file, self._image())
        self._state = _state(self.file)

    def forget(self, measurement: str) -> None:
        """Leave a measurement out from now on."""
        self.settings.pop(measurement, None)
        self.found = {
            path: finding
            for path, finding in self.found.items()
            if path.split("/")[0] != measurement
        }

    def under(self, path: str) -> dict[str, Finding]:
        """The findings below a path, by the rest of theirs."""
        return {
            p[len(path) + 1 :]: finding
            for p, finding in self.found.items()
            if p.startswith(f"{path}/")
        }

    def vectors_file(self, path: str) -> Path:
        """Where the long vectors of a model are."""
        return (
            self.file.with_name(self.file.name.removesuffix(".h5")) / f"{path.replace('/', '.')}.h5"
        )

    def add_vectors(self, path: str, arrays: Mapping[str, np.ndarray], about: Facts) -> None:
        """Put long vectors on the disk, for a model's path, beside those that are there of the same
        weights.
        """
        known = self.vectors(path, about["weights_sha256"]) or {}
        image = io.BytesIO()
        with h5py.File(image, "w") as file:
            file.attrs.update({**self._about(), "format": _VECTORS, **about})
            for name, array in {**known, **arrays}.items():
                file.create_dataset(name, data=array)
        _write(self.vectors_file(path), image.getbuffer())

    def vectors(self, path: str, weights_sha256: str | None = None) -> dict[str, np.ndarray] | None:
        """The long vectors of a model; None where there are none, or none of these weights."""
        file = self.vectors_file(path)
        if not file.exists():
            return None
        with opened(file, _EXPECTED, _VECTORS, FORMAT_VERSION) as content:
            same_run = content.attrs.get("run_id") == self.run.run_id
            same_weights = weights_sha256 in (None, content.attrs.get("weights_sha256"))
            return (
                {name: array[...] for name, array in content.items()}
                if same_run and same_weights
                else None
            )

    def _about(self) -> dict[str, Any]:
        version = {"format": FORMAT, "format_version": FORMAT_VERSION}
        return {**version, **software(), "run_id": self.run.run_id, "updated": timestamp()}

    def _image(self) -> memoryview:
        image = io.BytesIO()
        with h5py.File(image, "w", track_order=True) as file:
            file.attrs.update(self._about())
            for measurement, settings in self.settings.items():
                file.require_group(measurement).attrs.update(settings)
            for path, finding in self.found.items():
                group = file.create_group(path)
                group.attrs.update(finding.facts)
                for name, array in finding.arrays.items():
                    text = (
                        {"data": array.astype(object), "dtype": _TEXT}
                        if array.dtype.kind in "OU"
                        else {}
                    )
                    group.create_dataset(name, **{"data": array, **text})
        return image.getbuffer()

    def _refresh(self) -> None:
        """Read the file, where it is another than the last time."""
        state = _state(self.file)
        if state is None or state == self._state:
            return
        with opened(self.file, _EXPECTED, FORMAT, FORMAT_VERSION) as content:
            if content.attrs.get("run_id") != self.run.run_id:
                raise BadInput(
                    f"{self.file}: expected findings about run {self.run.run_id}; got another run's; move them away"
                )
            self.settings = {name: _plain(group.attrs) for name, group in content.items()}
            self.found = dict(_findings(content))
        self._state = state


def _write(file: Path, image: memoryview) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
        atomic.write_hdf5(file, image)
    except OSError as problem:
        raise BadInput(
            f"{file}: expected a place to write; got {problem.strerror}; what was found before is kept: mend that, and "
            "start again"
        ) from problem


def _state(file: Path) -> tuple | None:
    """What changes when a file is replaced."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _findings(group: h5py.Group, path: str = "") -> Iterator[tuple[str, Finding]]:
    """The groups that hold no groups, by path."""
    below = {name: item for name, item in group.items() if isinstance(item, h5py.Group)}
    if path and not below and path.count("/") >= 2:
        arrays = {
            n: d.asstr()[...] if h5py.check_string_dtype(d.dtype) else d[...]
            for n, d in group.items()
        }
        yield path, Finding(arrays, _plain(group.attrs))
    for name, item in below.items():
        yield from _findings(item, f"{path}/{name}" if path else name)


def _plain(attrs: h5py.AttributeManager) -> dict[str, Any]:
    return {
        name: v.tolist() if isinstance(v, np.generic | np.ndarray) else v
        for name, v in attrs.items()
    }
