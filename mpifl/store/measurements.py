"""Findings: what analysis measures of a run, in `hessian.h5` beside it.

The run's own files are never written.

hessian.h5                                    format, run_id, software ...
  /exact                                      a measurement; its attributes are its settings
    /round_000010/global/eigenvalues          a finding: arrays, and attributes: weights_sha256 ...
    /round_000010/client_000003/diagonal
    /round_000010/clients/disagreement        a finding about all clients of the round
hessian/exact.round_000010.client_000003.diagonal.h5   its long vectors: [d] or [k, d]

Each finding is stored whole or not at all. Several processes, on any nodes, may add findings at the
same time: see `shared_file`.
"""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpifl.options import BadInput
from mpifl.store import atomic, datasets, findings_file
from mpifl.store.contents import software, timestamp
from mpifl.store.findings_file import (
    FORMAT,
    FORMAT_VERSION,
    VECTORS_FORMAT,
    Content,
    Facts,
    Finding,
)
from mpifl.store.reader import Run
from mpifl.store.run_folder import HESSIAN
from mpifl.store.shared_file import SharedFile, Version, version
from mpifl.store.validate import opened

__all__ = ["Facts", "Finding", "Findings"]

_NAME = re.compile(r"\w[\w .+=-]{0,99}")


class Findings:
    """All findings about one run, by path: `measurement/round_000010/model/quantity`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.file = run.path / HESSIAN if run.path.is_dir() else run.path.with_suffix(f".{HESSIAN}")
        self.settings: dict[str, Facts] = {}
        """of each measurement"""
        self.found: dict[str, Finding] = {}
        self._shared = SharedFile(self.file)
        self._begun: dict[str, Facts] = {}
        """settings of the measurements that this process adds to"""
        self._anew: dict[str, int] = {}
        """the generations of the measurements that this process has begun anew"""
        self._contents: dict[Version | None, Content] = {}
        """what the files hold that were read or written last"""
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
        self._check_settings(self.settings, measurement, settings)
        self._begun[measurement] = dict(settings)
        self.settings[measurement] = dict(settings)

    def add(self, path: str, finding: Finding) -> None:
        """Write a finding. Raises BadInput if that fails; the findings before are then kept.

        Raises BadInput too if another process has meanwhile measured under the same name with other
        settings.
        """
        measurement = path.split("/")[0]
        whole = Content()

        def with_finding(contents: list[Content]) -> memoryview:
            nonlocal whole
            whole = self._merged(contents)
            if measurement in self._begun:
                self._check_settings(whole.settings, measurement, self._begun[measurement])
                whole.settings[measurement] = self._begun[measurement]
            whole.settings.setdefault(measurement, {})
            whole.found[path] = finding
            return findings_file.image(whole, self._attributes())

        self.run.check_unchanged()
        try:
            with _said_in_one_line(self.file):
                written = self._shared.add(self._content, with_finding)
        except BadInput:
            self._refresh()  # raises for a file that cannot be read, by the name that it has now
            raise
        self._contents = {written: whole}
        self._show(whole)

    def forget(self, measurement: str) -> None:
        """Leave a measurement out of what is written from now on, to measure it anew."""
        known = [content.generations.get(measurement, 0) for content in self._contents.values()]
        self._anew[measurement] = 1 + max(known, default=0)
        self._begun.pop(measurement, None)
        self._show(self._merged(self._contents.values()))

    def under(self, path: str) -> dict[str, Finding]:
        """The findings below `path`, by the rest of their paths."""
        start = f"{path}/"
        return {p.removeprefix(start): f for p, f in self.found.items() if p.startswith(start)}

    def vectors_file(self, path: str) -> Path:
        """The file of a finding's long vectors.

        `path` is `measurement/round_000010/model/quantity`; without the quantity it is the file of
        earlier versions, for all long vectors of a model.
        """
        folder = self.file.with_name(self.file.name.removesuffix(".h5"))
        return folder / f"{path.replace('/', '.')}.h5"

    def add_vectors(self, path: str, arrays: Mapping[str, np.ndarray], about: Facts) -> None:
        """Write the long vectors of the finding at `path`; `about` has `weights_sha256`.

        Raises BadInput if that fails.
        """
        image = io.BytesIO()
        with h5py.File(image, "w") as file:
            file.attrs.update({**self._attributes(), "format": VECTORS_FORMAT, **about})
            for name, array in arrays.items():
                file.create_dataset(name, data=array)
        target = self.vectors_file(path)
        with _said_in_one_line(target):
            target.parent.mkdir(exist_ok=True)
            atomic.write_hdf5(target, image.getbuffer())

    def has_vectors(self, path: str) -> bool:
        """Whether there is a file with the long vectors of the finding at `path`."""
        model, _, _ = path.rpartition("/")
        return self.vectors_file(path).exists() or self.vectors_file(model).exists()

    def vectors(self, path: str, weights_sha256: str | None = None) -> dict[str, np.ndarray]:
        """The long vectors of a model by name; with a digest, only those of these weights.

        `path` is `measurement/round_000010/model`.
        """
        whole = self.vectors_file(path)
        files = [whole, *sorted(whole.parent.glob(f"{glob.escape(whole.stem)}.*.h5"))]
        found: dict[str, np.ndarray] = {}
        for file in files:
            if file.exists():
                found.update(self._vectors_in(file, weights_sha256))
        return found

    def _vectors_in(self, file: Path, weights_sha256: str | None) -> dict[str, np.ndarray]:
        with opened(file, findings_file.EXPECTED, VECTORS_FORMAT, FORMAT_VERSION) as content:
            if content.attrs.get("run_id") != self.run.run_id:
                return {}
            if weights_sha256 not in (None, content.attrs.get("weights_sha256")):
                return {}
            return {name: datasets.whole(dataset) for name, dataset in content.items()}

    def _attributes(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **software(),
            "run_id": self.run.run_id,
            "updated": timestamp(),
        }

    def _refresh(self) -> None:
        """Read the files that have changed since they were read or written here."""
        contents = self._shared.read(self._content)
        self._contents = {version(file): content for file, content in contents.items()}
        self._show(self._merged(contents.values()))

    def _content(self, file: Path) -> Content:
        """What one file holds; read only if no file of this version has been read."""
        before = version(file)
        if before is not None and before in self._contents:
            return self._contents[before]
        return findings_file.read(file, self.run.run_id)

    def _merged(self, contents: Iterable[Content]) -> Content:
        return findings_file.merged(list(contents), self._anew)

    def _show(self, content: Content) -> None:
        self.settings = {**self._begun, **content.settings}
        self.found = content.found

    def _check_settings(
        self, known: Mapping[str, Facts], measurement: str, settings: Facts
    ) -> None:
        """Raise BadInput if the measurement is known with other settings."""
        expected = known.get(measurement, settings)
        for name in sorted({*expected, *settings}):
            if expected.get(name) != settings.get(name):
                raise BadInput(
                    f"{self.file}: expected {name} = {expected.get(name)}, as {measurement!r} has "
                    f"been measured; got {settings.get(name)}; "
                    "allowed: the same settings, or another name (--name)"
                )


@contextmanager
def _said_in_one_line(file: Path) -> Iterator[None]:
    """Turns a refusal of the file system into BadInput."""
    try:
        yield
    except OSError as problem:
        raise BadInput(
            f"{file}: expected a place to write; got {problem.strerror}; "
            "earlier findings are kept; fix this, then run the same command again"
        ) from problem
