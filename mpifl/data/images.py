"""A folder of image files as a data set, in any of three layouts.

    train/WNID/images/*, val/images/*, val/val_annotations.txt      as Tiny-ImageNet is published
    train/CLASS/*, and test/CLASS/* or val/CLASS/*                  ImageNet and most others
    DOMAIN/CLASS/*                                                  PACS; a part is held out for testing

Each image becomes RGB, its shorter side `size` pixels (bicubic, antialiased), and its centre is cut
out. Classes, domains and files are taken in the order of their names.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mpifl.data.dataset import Dataset, Split, assemble, stratified
from mpifl.options import BadInput
from mpifl.seeds import generator

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
LAYOUTS = (
    "train/CLASS/* with val/CLASS/* or test/CLASS/*, Tiny-ImageNet's own layout, or DOMAIN/CLASS/*"
)


@dataclass(frozen=True)
class Files:
    """Image files with the names of their classes and domains, not yet read."""

    paths: list[Path]
    labels: list[str]
    domains: list[str]

    def __add__(self, other: Files) -> Files:
        return Files(
            self.paths + other.paths, self.labels + other.labels, self.domains + other.domains
        )


def load(
    root: Path | None = None,
    download: bool = False,
    *,
    size: int = 64,
    held_out: float = 0.2,
    seed: int = 0,
    name: str | None = None,
) -> Dataset:
    """The images under `root`, `size` pixels square; `held_out` (a share) and `seed` matter for
    DOMAIN/CLASS/* only.
    """
    if root is None or not root.is_dir():
        looked = "no --root" if root is None else f"no folder at {root.absolute()}"
        raise BadInput(
            f"data.images: expected --root with {LAYOUTS}; got {looked}; mpifl cannot download these"
        )
    if size < 1 or not 0 < held_out < 1:
        raise BadInput(
            f"data.images: expected size >= 1 and 0 < held_out < 1; got {size} and {held_out}"
        )
    train, test = _found(root, held_out, seed)
    classes, domains = sorted(set(train.labels)), sorted(set(train.domains))
    if unknown := sorted(set(test.labels) - set(classes)):
        raise BadInput(
            f"data.images: expected the classes of {root / 'train'} in the test images; got {unknown[0]!r}"
        )
    splits = [_read(files, classes, domains, size) for files in (train, test)]
    source = f"image files, shorter side resized to {size} (bicubic) and centre cropped"
    return assemble(name or root.resolve().name, *splits, classes, source, domains)


def _found(root: Path, held_out: float, seed: int) -> tuple[Files, Files]:
    if (root / "train").is_dir():
        if (root / "val" / "val_annotations.txt").is_file():
            return _by_class(root / "train"), _annotated(root / "val")
        # A published test set has no labels, and then the validation images are what is tested on.
        for test in (root / "test", root / "val"):
            if test.is_dir() and (files := _by_class(test)).paths:
                return _by_class(root / "train"), files
        raise BadInput(
            f"data.images: expected test images in {root}/test/CLASS or {root}/val/CLASS; got none"
        )
    files = sum((_by_class(folder, folder.name) for folder in _folders(root)), Files([], [], []))
    if not files.paths:
        raise BadInput(
            f"data.images: expected {LAYOUTS}; got no images so arranged in {root.absolute()}"
        )
    return _hold_out(files, held_out, seed)


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _images(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _by_class(root: Path, domain: str = "") -> Files:
    found = [(path, folder.name) for folder in _folders(root) for path in _images(folder)]
    return Files(
        [path for path, _ in found],
        [label for _, label in found],
        [domain] * bool(domain) * len(found),
    )


def _annotated(root: Path) -> Files:
    """Tiny-ImageNet's validation images: a line of val_annotations.txt is a file name, a class and
    a box.
    """
    lines = (root / "val_annotations.txt").read_text().splitlines()
    named = sorted(tuple(line.split("\t")[:2]) for line in lines if line.strip())
    if any(len(pair) != 2 for pair in named):
        raise BadInput(
            f"data.images: expected FILE <tab> CLASS on each line of {root / 'val_annotations.txt'}"
        )
    return Files([root / "images" / file for file, _ in named], [label for _, label in named], [])


def _hold_out(files: Files, share: float, seed: int) -> tuple[Files, Files]:
    cells = np.unique(
        [f"{d}/{l}" for d, l in zip(files.domains, files.labels, strict=True)], return_inverse=True
    )[1]
    n = round(share * len(cells))
    chosen = set(stratified(cells, n, generator(seed, "held-out images")).tolist())
    order = range(len(cells))
    return _picked(files, [i for i in order if i not in chosen]), _picked(files, sorted(chosen))


def _picked(files: Files, indices: list[int]) -> Files:
    return Files(
        *([values[i] for i in indices] for values in (files.paths, files.labels, files.domains))
    )


def _read(files: Files, classes: list[str], domains: list[str], size: int) -> Split:
    images = np.empty((len(files.paths), 3, size, size), dtype=np.uint8)

    def place(i: int) -> None:
        images[i] = _pixels(files.paths[i], size)

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(place, range(len(images))):
            pass
    return Split(
        images,
        _indices(files.labels, classes),
        _indices(files.domains, domains) if domains else None,
    )


def _indices(values: list[str], names: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[value] for value in values], dtype=np.int64)


def _pixels(path: Path, size: int) -> np.ndarray:
    """uint8 [3, size, size] of one file."""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise BadInput(f"data.images: expected an image in {path}; got {error}") from error
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)
