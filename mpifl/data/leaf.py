"""FEMNIST in LEAF's format (Caldas et al. 2018): JSON files of handwritten characters by writer.

    train/*.json and test/*.json        as LEAF's split_data.py writes them, or
    all_data/*.json, or *.json          before; a part of each writer's images is held out

Each file has `user_data`: for each writer the images x (784 values of 0 to 1, white paper is 1) and
the labels y (0 to 61: digits, capital and small letters). The writers are the clients, in the order
of their sorted names. LEAF's group_by_writer.py repeats the first image of each writer but the
first: of images that a writer has twice, one is left out, in the training part if it is in both.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpifl.data.dataset import Dataset, Split, assemble, stratified
from mpifl.options import BadInput
from mpifl.seeds import generator
from mpifl.terminal import plural, progress_bar, say

CLASSES = string.digits + string.ascii_uppercase + string.ascii_lowercase
SIDE = 28  # pixels


@dataclass(frozen=True)
class _Characters:
    """Characters of one writer."""

    images: np.ndarray
    """uint8 [n, 784]"""
    labels: np.ndarray
    """int64 [n]"""

    def take(self, kept: np.ndarray) -> _Characters:
        return _Characters(self.images[kept], self.labels[kept])

    def __add__(self, other: _Characters) -> _Characters:
        return _Characters(
            np.concatenate([self.images, other.images]),
            np.concatenate([self.labels, other.labels]),
        )


_NONE = _Characters(np.empty((0, SIDE * SIDE), np.uint8), np.empty(0, np.int64))

Writers = dict[str, _Characters]


def load(
    root: Path | None = None, download: bool = False, *, held_out: float = 0.2, seed: int = 0
) -> Dataset:
    """FEMNIST from LEAF's JSON files under `root`, with its writers as clients.

    `held_out`, the share of each writer's images that is the test, drawn with `seed`, applies to
    data that LEAF has not split. Raises BadInput, which names the file.
    """
    if root is None or not root.is_dir():
        looked = "no --root" if root is None else f"no folder at {root.absolute()}"
        raise BadInput(
            "data.femnist: expected --root with LEAF's train/*.json and test/*.json, or *.json; "
            f"got {looked}; mpifl cannot download these"
        )
    if not 0 < held_out < 1:
        raise BadInput(f"data.femnist: expected 0 < held_out < 1; got {held_out}")
    is_split = (root / "train").is_dir()
    if is_split:
        train, test = _without_repeats(_read(root / "train"), _read(root / "test"))
        origin = "the folder test"
    else:
        folder = root / "all_data" if (root / "all_data").is_dir() else root
        train, test = _without_repeats(_read(folder), {})
        origin = f"{held_out:g} of each writer's images, held out with seed {seed}"
    names = sorted({*train, *test})
    of_train = _split(train, names)
    of_test = _split(test, names)
    if not is_split:
        of_train, of_test = _hold_out(of_train, held_out, seed)
    source = f"FEMNIST in LEAF's format; test images: {origin}"
    return assemble("femnist", of_train, of_test, CLASSES, source, client_names=names)


def _read(folder: Path) -> Writers:
    """The writers in all JSON files of a folder."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise BadInput(f"data.femnist: expected LEAF's *.json in {folder}; got none")
    writers: Writers = {}
    with progress_bar(f"files of {folder}", len(paths), in_logs=True) as advance:
        for path in paths:
            for name, values in _user_data(path).items():
                writers[name] = writers.get(name, _NONE) + _characters(path, name, values)
            advance(1)
    return writers


def _user_data(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        return dict(content["user_data"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            f"{path}: expected JSON with LEAF's user_data; got: {type(error).__name__} {error}"
        ) from error


def _characters(path: Path, name: str, values: Any) -> _Characters:
    """One writer's characters in a file. Raises BadInput."""
    where = f"{path}: user_data of {name!r}"
    try:
        images = np.asarray(values["x"], dtype=np.float64).reshape(-1, SIDE * SIDE)
        labels = np.asarray(values["y"], dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{where}: expected x, images of {SIDE * SIDE} values, and y, a label for each; "
            f"got: {type(error).__name__} {error}"
        ) from error
    if labels.shape != (len(images),):
        raise BadInput(
            f"{where}: expected as many labels as images; got {labels.size} labels of "
            f"{len(images)} images"
        )
    in_range = (images >= 0) & (images <= 1)  # NaN is not
    if not in_range.all():
        raise BadInput(f"{where}: expected values of 0 to 1; got {images[~in_range][0]:g}")
    known = np.isin(labels, np.arange(len(CLASSES)))
    if not known.all():
        raise BadInput(
            f"{where}: expected labels 0 to {len(CLASSES) - 1}; got {labels[~known][0]:g}"
        )
    return _Characters(np.rint(255 * images).astype(np.uint8), labels.astype(np.int64))


def _without_repeats(train: Writers, test: Writers) -> tuple[Writers, Writers]:
    """Each writer's different characters; one that is in both parts stays in the test."""
    seen: dict[str, set[bytes]] = {}
    dropped = 0
    kept_parts: list[Writers] = []
    for part in (test, train):
        kept_part: Writers = {}
        for name, characters in part.items():
            new = _new(characters, seen.setdefault(name, set()))
            dropped += int(np.count_nonzero(~new))
            kept_part[name] = characters.take(new)
        kept_parts.append(kept_part)
    if dropped:
        say(f"left out {plural(dropped, 'image')} that a writer has twice", error=True)
    kept_test, kept_train = kept_parts
    return kept_train, kept_test


def _new(characters: _Characters, seen: set[bytes]) -> np.ndarray:
    """bool [n]: whether a character is not among those `seen`, which it joins."""
    new = np.empty(len(characters.labels), dtype=bool)
    for i, (image, label) in enumerate(zip(characters.images, characters.labels, strict=True)):
        key = image.tobytes() + bytes([label])
        new[i] = key not in seen
        seen.add(key)
    return new


def _split(writers: Writers, names: list[str]) -> Split:
    """All characters, writer after writer, in the order of their names."""
    images = [_NONE.images]
    labels = [_NONE.labels]
    counts = []
    for name in names:
        characters = writers.get(name, _NONE)
        images.append(characters.images)
        labels.append(characters.labels)
        counts.append(len(characters.labels))
    pixels = np.concatenate(images).reshape(-1, 1, SIDE, SIDE)
    clients = np.repeat(np.arange(len(names)), counts)
    return Split(pixels, np.concatenate(labels), clients=clients)


def _hold_out(every: Split, share: float, seed: int) -> tuple[Split, Split]:
    """The training and the test part: each writer keeps its share in both."""
    assert every.clients is not None
    random = generator(seed, "held-out femnist")
    test = stratified(every.clients, round(share * len(every)), random)
    train = np.setdiff1d(np.arange(len(every)), test)
    return every.take(train), every.take(test)
