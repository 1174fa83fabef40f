"""A folder of image files as a data set, in any of three layouts (`image_folders.py`).

Each image is converted to RGB and resized so that its shorter side has `size` pixels (bicubic,
antialiased); then its centre is cut out (`pixels.py`). Classes, domains and files are in the order
of their names.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from mpifl.data.dataset import Dataset, Split, assemble, refuse_beyond_memory
from mpifl.data.image_folders import LAYOUTS, Files, find
from mpifl.data.pixels import UnreadableImage, read_pixels
from mpifl.options import BadInput
from mpifl.terminal import plural, progress_bar, say


class UnreadableImages(BadInput):
    """Several image files that cannot be read; the message is that of the first."""

    def __init__(self, errors: list[UnreadableImage]) -> None:
        super().__init__(f"{errors[0]}; and {plural(len(errors) - 1, 'other file')}")
        self.errors = errors


def load(
    root: Path | None = None,
    download: bool = False,
    *,
    size: int = 64,
    held_out: float = 0.2,
    seed: int = 0,
    name: str = "",
) -> Dataset:
    """The images under `root`, as squares of `size` pixels. Prints to stderr how far it is.

    `name` is that of the data set, by default that of the folder.
    `held_out` (the share of test images) and `seed` apply to DOMAIN/CLASS/* only. Raises BadInput
    if there are no such images; UnreadableImage or UnreadableImages, once all files were tried, for
    those that cannot be read.
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
    found = find(root, held_out, seed)
    for note in found.notes:
        say(note, error=True)
    every = found.train + found.test
    classes = sorted(set(found.train.labels))
    domains = sorted(set(found.train.domains))
    # The file of the data set is made in memory too.
    refuse_beyond_memory("data.images", 2 * len(every.paths) * 3 * size**2)
    say(
        f"reading {plural(len(found.train.paths), 'training image')} and "
        f"{plural(len(found.test.paths), 'test image')} of {root}",
        error=True,
    )
    images = _read(every.paths, size)
    train, test = np.split(images, [len(found.train.paths)])
    return assemble(
        name or root.resolve().name,
        _split(train, found.train, classes, domains),
        _split(test, found.test, classes, domains),
        classes,
        f"image files, shorter side resized to {size} (bicubic) and centre cropped; "
        f"test images: {found.test_origin}",
        domains,
    )


def _read(paths: list[Path], size: int) -> np.ndarray:
    """The images of all files, uint8 [n, 3, size, size]. Raises BadInput once all were tried."""
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)

    def place(i: int) -> UnreadableImage | None:
        """Read image i; return what prevents it."""
        try:
            images[i] = read_pixels(paths[i], size)
        except UnreadableImage as error:
            return error
        return None

    errors = []
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor() as threads,
        progress_bar("images read", len(paths), in_logs=True) as advance,
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for error in threads.map(place, range(len(paths))):
            advance(1)
            if error is not None:
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UnreadableImages(errors)
    return images


def _split(images: np.ndarray, files: Files, classes: list[str], domains: list[str]) -> Split:
    labels = _indices(files.labels, classes)
    return Split(images, labels, _indices(files.domains, domains) if domains else None)


def _indices(values: list[str], names: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[value] for value in values], dtype=np.int64)
