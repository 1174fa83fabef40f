"""What one `hessian.h5` holds, how it is read and written, and how several are merged."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpifl.options import BadInput
from mpifl.store import datasets
from mpifl.store.validate import opened

FORMAT = "mpifl-hessian"
VECTORS_FORMAT = f"{FORMAT}-vectors"
FORMAT_VERSION = 1
EXPECTED = "what was found about a run (else move it away)"
_GENERATION = "generation"
"""attribute of a measurement: how many times it was begun anew; absent for 0"""
_DEEPEST = 3
"""slashes in the path of a finding"""
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


@dataclass(frozen=True)
class Content:
    """What a file holds."""

    settings: dict[str, Facts] = field(default_factory=dict)
    """of each measurement"""
    found: dict[str, Finding] = field(default_factory=dict)
    """by path: `measurement/round_000010/model/quantity`"""
    generations: dict[str, int] = field(default_factory=dict)
    """of each measurement"""
    updated: str = ""
    """when it was written, in ISO 8601"""


def read(file: Path, run_id: str) -> Content:
    """What a file holds. Raises BadInput if it is damaged, or about another run."""
    with opened(file, EXPECTED, FORMAT, FORMAT_VERSION) as content:
        if content.attrs.get("run_id") != run_id:
            raise BadInput(
                f"{file}: expected findings about run {run_id}; got another run's; move them away"
            )
        settings: dict[str, Facts] = {}
        generations = {}
        for name, group in content.items():
            attributes = _plain(group.attrs)
            generations[name] = attributes.pop(_GENERATION, 0)
            settings[name] = attributes
        found = dict(_findings(content))
        return Content(settings, found, generations, str(content.attrs.get("updated")))


def image(content: Content, attributes: Facts) -> memoryview:
    """The HDF5 image of a file with this content."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", track_order=True) as file:
        file.attrs.update(attributes)
        for measurement, settings in content.settings.items():
            group = file.require_group(measurement)
            group.attrs.update(settings)
            if content.generations.get(measurement, 0) > 0:
                group.attrs[_GENERATION] = content.generations[measurement]
        for path, finding in content.found.items():
            group = file.create_group(path)
            group.attrs.update(finding.facts)
            for name, array in finding.arrays.items():
                if array.dtype.kind in "OU":
                    group.create_dataset(name, data=array.astype(object), dtype=_TEXT)
                else:
                    group.create_dataset(name, data=array)
    return buffer.getbuffer()


def merged(contents: Sequence[Content], at_least: Mapping[str, int]) -> Content:
    """All findings of several files; of a finding that is in two, the one written later.

    A measurement that was begun anew replaces its older generations, and those before `at_least`.
    If two processes have measured under one name with different settings, the later one's findings
    are kept under a name with a suffix.
    """
    generations = dict(at_least)
    for content in contents:
        for name, generation in content.generations.items():
            generations[name] = max(generation, generations.get(name, 0))
    whole = Content(generations=generations)
    for content in sorted(contents, key=_updated):
        for name, settings in content.settings.items():
            if content.generations.get(name, 0) == generations.get(name, 0):
                _lay_over(whole, content, name, settings)
    return whole


def _updated(content: Content) -> str:
    return content.updated


def _lay_over(whole: Content, content: Content, name: str, settings: Facts) -> None:
    kept_as = name
    if whole.settings.get(name, settings) != settings:
        digest = hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()
        kept_as = f"{name}+{digest[:6]}"
    whole.settings[kept_as] = settings
    for path, finding in content.found.items():
        if path.startswith(f"{name}/"):
            whole.found[kept_as + path.removeprefix(name)] = finding


def _findings(group: h5py.Group, path: str = "") -> Iterator[tuple[str, Finding]]:
    """The findings below a group, by path: the groups without groups in them.

    Raises ValueError for groups that are nested deeper: one may hold itself.
    """
    subgroups = {name: item for name, item in group.items() if isinstance(item, h5py.Group)}
    if path.count("/") > _DEEPEST:
        raise ValueError(f"{path} is nested too deep")
    if not subgroups and path.count("/") >= 2:
        arrays = {name: datasets.whole(dataset) for name, dataset in group.items()}
        yield path, Finding(arrays, _plain(group.attrs))
    for name, item in subgroups.items():
        yield from _findings(item, f"{path}/{name}" if path else name)


def _plain(attributes: h5py.AttributeManager) -> dict[str, Any]:
    """Attributes with Python's own numbers and lists."""
    plain = {}
    for name, value in attributes.items():
        is_numpy = isinstance(value, np.generic | np.ndarray)
        plain[name] = value.tolist() if is_numpy else value
    return plain
