"""A folder of image files as a data set, in any of three layouts.

    train/WNID/images/*, val/images/*, val/val_annotations.txt  as Tiny-ImageNet is published
    train/CLASS/*, and test/CLASS/* or val/CLASS/*              ImageNet and most others
    DOMAIN/CLASS/*                                              PACS; a part is held out as the test

Each image is converted to RGB and resized so that its shorter side has `size` pixels (bicubic,
antialiased); then its centre is cut out. Classes, domains and files are in the order of their
names.
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
    """Image files that are not yet read, and the names of their classes and domains."""

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
    """The images under `root`, as squares of `size` pixels.

    `held_out` (the share of test images) and `seed` apply to DOMAIN/CLASS/* only. Raises BadInput
    if there are no such images.
    """
    if root is None or not root.is_dir():
        looked = "no --root" if root is None else f"no folder at {root.absolute()}"
        raise BadInput(
            f"data.images: expected --root with {LAYOUTS}; got {looked}; "
            "mpifl cannot download these"
        )
    if size < 1 or not 0 < held_out < 1:
        raise BadInput(
            f"data.images: expected size >= 1 and 0 < held_out < 1; got {size} and {held_out}"
        )
    train, test = _found(root, held_out, seed)
    classes = sorted(set(train.labels))
    domains = sorted(set(train.domains))
    unknown = sorted(set(test.labels) - set(classes))
    if unknown:
        raise BadInput(
            f"data.images: expected the classes of {root / 'train'} in the test images; "
            f"got {unknown[0]!r}"
        )
    return assemble(
        name or root.resolve().name,
        _read(train, classes, domains, size),
        _read(test, classes, domains, size),
        classes,
        f"image files, shorter side resized to {size} (bicubic) and centre cropped",
        domains,
    )


def _found(root: Path, held_out: float, seed: int) -> tuple[Files, Files]:
    """The training and the test images."""
    if (root / "train").is_dir():
        if (root / "val" / "val_annotations.txt").is_file():
            return _by_class(root / "train"), _annotated(root / "val")
        # A published test set often has no labels; then the validation images are the test.
        for folder in (root / "test", root / "val"):
            test = _by_class(folder) if folder.is_dir() else Files([], [], [])
            if test.paths:
                return _by_class(root / "train"), test
        raise BadInput(
            f"data.images: expected test images in {root}/test/CLASS or {root}/val/CLASS; got none"
        )
    files = Files([], [], [])
    for folder in _folders(root):
        files = files + _by_class(folder, folder.name)
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
    """The images of root/CLASS/*, all of one domain; "" for none."""
    files = Files([], [], [])
    for folder in _folders(root):
        for path in _images(folder):
            files.paths.append(path)
            files.labels.append(folder.name)
            if domain:
                files.domains.append(domain)
    return files


def _annotated(root: Path) -> Files:
    """Tiny-ImageNet's validation images; a line of val_annotations.txt: file name, class, box."""
    lines = (root / "val_annotations.txt").read_text().splitlines()
    named = sorted(tuple(line.split("\t")[:2]) for line in lines if line.strip())
    if any(len(pair) != 2 for pair in named):
        raise BadInput(
            f"data.images: expected FILE <tab> CLASS on each line of {root / 'val_annotations.txt'}"
        )
    return Files([root / "images" / file for file, _ in named], [label for _, label in named], [])


def _hold_out(files: Files, share: float, seed: int) -> tuple[Files, Files]:
    """The training and the test images: each class of each domain keeps its share in both."""
    names = [f"{d}/{l}" for d, l in zip(files.domains, files.labels, strict=True)]
    _, groups = np.unique(names, return_inverse=True)
    held_out = round(share * len(groups))
    test = stratified(groups, held_out, generator(seed, "held-out images")).tolist()
    train = sorted(set(range(len(groups))) - set(test))
    return _picked(files, train), _picked(files, test)


def _picked(files: Files, indices: list[int]) -> Files:
    return Files(
        [files.paths[i] for i in indices],
        [files.labels[i] for i in indices],
        [files.domains[i] for i in indices],
    )


def _read(files: Files, classes: list[str], domains: list[str], size: int) -> Split:
    images = np.empty((len(files.paths), 3, size, size), dtype=np.uint8)

    def place(i: int) -> None:
        images[i] = _pixels(files.paths[i], size)

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(place, range(len(images))):  # which raises what a thread raises
            pass
    labels = _indices(files.labels, classes)
    return Split(images, labels, _indices(files.domains, domains) if domains else None)


def _indices(values: list[str], names: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[value] for value in values], dtype=np.int64)


def _pixels(path: Path, size: int) -> np.ndarray:
    """The image of one file, uint8 [3, size, size]."""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise BadInput(f"data.images: expected an image in {path}; got {error}") from error
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left = (width - size) // 2
    top = (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)
