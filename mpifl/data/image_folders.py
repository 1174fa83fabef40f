"""Finds the image files of a data set, their classes and domains, in any of three layouts.

    train/WNID/images/*, val/images/*, val/val_annotations.txt  as Tiny-ImageNet is published
    train/CLASS/*, and one of test/CLASS/*, val/CLASS/*, val/images/CLASS/*  ImageNet, most others
    DOMAIN/CLASS/*                                              PACS; a part is held out as the test

Images may lie in subfolders of a class folder. Files of other kinds, and files and folders whose
names begin with a dot, are passed over. A class folder in which then no image is left is refused:
without its class, the labels of those after it would be others.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpifl.data.dataset import stratified
from mpifl.options import BadInput
from mpifl.seeds import generator
from mpifl.terminal import plural

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
LAYOUTS = (
    "train/CLASS/* with val/CLASS/* or test/CLASS/*, Tiny-ImageNet's own layout, or DOMAIN/CLASS/*"
)
_TEST_FOLDERS = ("test", "val", "val/images")
_ANNOTATIONS = "val_annotations.txt"
_MOST_KINDS = 5  # that a message counts


@dataclass(frozen=True)
class Files:
    """Image files that are not yet read, and the names of their classes and domains."""

    paths: list[Path]
    labels: list[str]
    domains: list[str]
    """empty if the data set has no domains"""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: list[int]) -> Files:
        """The files at `indices`, in that order."""
        return Files(
            [self.paths[i] for i in indices],
            [self.labels[i] for i in indices],
            [self.domains[i] for i in indices] if self.domains else [],
        )

    def __add__(self, other: Files) -> Files:
        return Files(
            self.paths + other.paths, self.labels + other.labels, self.domains + other.domains
        )


@dataclass(frozen=True)
class Found:
    """The image files of a data set."""

    train: Files
    test: Files
    test_origin: str
    """where the test images come from, in words"""
    notes: list[str]
    """what was passed over, a sentence each"""


def find(root: Path, held_out: float, seed: int) -> Found:
    """The image files under `root`.

    In DOMAIN/CLASS/* a share `held_out` of each class of each domain, drawn with `seed`, is the
    test. Raises BadInput if there are no images in any of the layouts, a class folder has none, or
    the classes of the test images are not those of the training images.
    """
    search = _Search(root)
    if (root / "train").is_dir():
        train = search.by_class(root / "train")
        search.refuse_empty_classes()
        if not train.paths:
            raise BadInput(f"data.images: expected images in {root}/train/CLASS; got none")
        test, origin = _test_files(search, set(train.labels))
    else:
        every = _by_domain(search)
        search.refuse_empty_classes()
        train, test = _hold_out(every, held_out, seed)
        origin = f"{held_out:g} of each class of each domain, held out with seed {seed}"
    return Found(train, test, origin, search.notes())


class _Search:
    """Walks through folders, and remembers what it passes over."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._other_kinds: Counter[str] = Counter()
        self._strays: list[Path] = []
        self._no_class_folders: list[str] = []
        self._empty_classes: list[str] = []

    def by_class(self, root: Path, domain: str = "", known: Collection[str] = ()) -> Files:
        """The images of root/CLASS/*, all of one domain; "" for none.

        With the names of `known` classes, a folder of another name may be without images.
        """
        files = Files([], [], [])
        self._strays += [path for path in root.iterdir() if _is_image(path)]
        for folder in _folders(root):
            paths, other_kinds = _walk(folder)
            self._other_kinds += other_kinds
            if not paths and (not known or folder.name in known):
                self._empty_classes.append(f"{folder.relative_to(self.root)} ({_has(other_kinds)})")
            files.paths.extend(paths)
            files.labels.extend([folder.name] * len(paths))
            if domain:
                files.domains.extend([domain] * len(paths))
        return files

    def pass_over(self, folder: Path) -> None:
        """Note that a folder has no class folders."""
        self._no_class_folders.append(str(folder.relative_to(self.root)))
        self._strays += [path for path in folder.iterdir() if _is_image(path)]

    def refuse_empty_classes(self) -> None:
        """Raise BadInput if a class folder is without images."""
        if self._empty_classes:
            count = len(self._empty_classes)
            where = self._empty_classes[0]
            if count > 1:
                where = f"{plural(count, 'folder')}: {', '.join(self._empty_classes)}"
            raise BadInput(
                f"data.images: expected images in every class folder of {self.root}; got none in "
                f"{where}; mpifl reads {_listed(SUFFIXES)}; remove a folder that is no class"
            )

    def kinds_found(self) -> str:
        """Which other kinds of files there are, for the end of an error; "" if none."""
        if not self._other_kinds:
            return ""
        return f", but {_counted(self._other_kinds)}; mpifl reads {_listed(SUFFIXES)}"

    def notes(self) -> list[str]:
        """What was passed over, a sentence each."""
        notes = []
        if self._other_kinds:
            count = plural(self._other_kinds.total(), "file")
            notes.append(f"passed over {count} of other kinds: {_counted(self._other_kinds)}")
        if self._strays:
            count = plural(len(self._strays), "image")
            notes.append(f"passed over {count} in no class folder, such as {min(self._strays)}")
        if self._no_class_folders:
            folders = ", ".join(self._no_class_folders)
            notes.append(f"passed over folders without class folders: {folders}")
        return notes


def _test_files(search: _Search, classes: Collection[str]) -> tuple[Files, str]:
    """The test images beside train/, whose `classes` are known, and which folder has them."""
    root = search.root
    if (root / "val" / _ANNOTATIONS).is_file() and _has_images(root / "val" / "images"):
        files = _annotated(root / "val")
        _refuse_unknown_classes(files, classes, root)
        return files, f"val/images, by {_ANNOTATIONS}"
    for name in _TEST_FOLDERS:
        folder = root / name
        # The published test images of many data sets have no labels, and lie in test/images.
        if folder.is_dir() and _has_classes(folder, classes):
            files = search.by_class(folder, known=classes)
            search.refuse_empty_classes()
            _refuse_unknown_classes(files, classes, root)
            return files, f"the folder {name}"
    raise BadInput(
        f"data.images: expected test images in {root}/test/CLASS or {root}/val/CLASS, of the "
        "classes of train; got none"
    )


def _has_classes(folder: Path, classes: Collection[str]) -> bool:
    """Whether a folder of one of these classes is in `folder`, with images."""
    return any(child.name in classes and _walk(child)[0] for child in _folders(folder))


def _refuse_unknown_classes(files: Files, classes: Collection[str], root: Path) -> None:
    unknown = sorted(set(files.labels) - set(classes))
    if unknown:
        raise BadInput(
            f"data.images: expected the classes of {root / 'train'} in the test images; "
            f"got {unknown[0]!r}"
        )


def _by_domain(search: _Search) -> Files:
    """The images of root/DOMAIN/CLASS/*. Raises BadInput if there are none."""
    files = Files([], [], [])
    for folder in _folders(search.root):
        if _folders(folder):
            files = files + search.by_class(folder, folder.name)
        else:
            search.pass_over(folder)
    if not files.paths:
        raise BadInput(
            f"data.images: expected {LAYOUTS}; "
            f"got no images so arranged in {search.root.absolute()}{search.kinds_found()}"
        )
    return files


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not _is_hidden(path.name) and path.is_file()


def _has_images(folder: Path) -> bool:
    return folder.is_dir() and any(_is_image(path) for path in folder.iterdir())


def _walk(root: Path) -> tuple[list[Path], Counter[str]]:
    """The image files under `root`, in the order of their names; and how many of other kinds."""
    images = []
    others: Counter[str] = Counter()
    for folder, subfolders, names in os.walk(root, onerror=_raise):
        subfolders[:] = [name for name in subfolders if not _is_hidden(name)]
        for name in names:
            path = Path(folder, name)
            suffix = path.suffix.lower()
            if _is_hidden(name):
                continue
            if suffix in SUFFIXES:
                images.append(path)
            else:
                others[suffix or "without a suffix"] += 1
    return sorted(images), others


def _raise(error: OSError) -> None:
    raise error


def _has(other_kinds: Counter[str]) -> str:
    return _counted(other_kinds) if other_kinds else "empty"


def _counted(kinds: Counter[str]) -> str:
    counts = [f"{count:,} {kind}" for kind, count in kinds.most_common(_MOST_KINDS)]
    if len(kinds) > _MOST_KINDS:
        counts.append("...")
    return ", ".join(counts)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def _annotated(root: Path) -> Files:
    """Tiny-ImageNet's validation images; a line of val_annotations.txt: file name, class, box."""
    annotations = root / _ANNOTATIONS
    lines = annotations.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    if any(len(row) < 2 for row in rows):
        raise BadInput(f"data.images: expected FILE <tab> CLASS on each line of {annotations}")
    named = sorted((row[0], row[1]) for row in rows)
    return Files([root / "images" / file for file, _ in named], [label for _, label in named], [])


def _hold_out(files: Files, share: float, seed: int) -> tuple[Files, Files]:
    """The training and the test images: each class of each domain keeps its share in both."""
    names = [f"{d}/{l}" for d, l in zip(files.domains, files.labels, strict=True)]
    _, groups = np.unique(names, return_inverse=True)
    held_out = round(share * len(groups))
    test = stratified(groups, held_out, generator(seed, "held-out images")).tolist()
    train = sorted(set(range(len(groups))) - set(test))
    return files.take(train), files.take(test)
