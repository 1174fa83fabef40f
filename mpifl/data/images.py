"""A folder of image files as a data set, in any of three layouts (`image_folders.py`).

Each image is converted to RGB and resized so that its shorter side has `size` pixels (bicubic,
antialiased); then its centre is cut out (`pixels.py`). Classes, domains and files are in the order
of their names.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from mpifl.data.dataset import Dataset, Split, assemble, refuse_beyond_memory
from mpifl.data.image_folders import LAYOUTS, Files, Found, find
from mpifl.data.pixels import UnreadableImage, read_pixels
from mpifl.options import BadInput
from mpifl.terminal import plural, progress_bar, say

_MOST_LINES = 1000  # of files that cannot be read for the same reason


class UnreadableImages(BadInput):
    """Image files that cannot be read. The message is that of the first; `errors` has all."""

    def __init__(self, errors: list[UnreadableImage]) -> None:
        line = str(errors[0])
        if len(errors) > 1:
            line += f"; and {plural(len(errors) - 1, 'other file')}"
        super().__init__(line)
        self.errors = errors


def list_unreadable(errors: Sequence[UnreadableImage]) -> None:
    """Print to stderr all files that cannot be read, by the reason."""
    by_reason: dict[str, list[Path]] = {}
    for error in errors:
        by_reason.setdefault(error.reason, []).append(error.path)
    for reason, paths in by_reason.items():
        say(f"{plural(len(paths), 'file')}: {BadInput(reason)}", error=True)
        for path in paths[:_MOST_LINES]:
            say(f"  {path}", error=True)
        if len(paths) > _MOST_LINES:
            say(f"  and {len(paths) - _MOST_LINES:,} more", error=True)


def load(
    root: Path | None = None,
    download: bool = False,
    *,
    size: int = 64,
    held_out: float = 0.2,
    seed: int = 0,
    name: str = "",
    skip_unreadable: bool = False,
) -> Dataset:
    """The images under `root`, as squares of `size` pixels. Prints to stderr how far it is.

    `name` is that of the data set, by default that of the folder. `held_out` (the share of test
    images) and `seed` apply to DOMAIN/CLASS/* only. With `skip_unreadable`, files that cannot be
    read are listed and left out. Raises BadInput if there are no such images, and UnreadableImages,
    once all files were tried, for those that cannot be read.
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
    say(f"looking for images in {root}", error=True)
    found = find(root, held_out, seed)
    for note in found.notes:
        say(note, error=True)
    classes = sorted(set(found.train.labels))
    domains = sorted(set(found.train.domains))
    (train, train_images), (test, test_images) = _read(found, size, skip_unreadable)
    lost = sorted(set(classes) - set(train.labels))
    if lost:
        raise BadInput(
            "data.images: expected a training image that can be read in each class; "
            f"got none in {', '.join(lost)}"
        )
    return assemble(
        name or root.resolve().name,
        _split(train_images, train, classes, domains),
        _split(test_images, test, classes, domains),
        classes,
        f"image files, shorter side resized to {size} (bicubic) and centre cropped; "
        f"test images: {found.test_origin}",
        domains,
    )


Part = tuple[Files, np.ndarray]
"""files, and the image of each, uint8 [n, 3, size, size]"""


def _read(found: Found, size: int, skip_unreadable: bool) -> tuple[Part, Part]:
    """The training and the test images, with their files; those that cannot be read left out.

    Raises BadInput, without `skip_unreadable` also for files that cannot be read.
    """
    train, test = found.train, found.test
    count = len(train)
    # The file of the data set is made in memory too.
    refuse_beyond_memory("data.images", 2 * (count + len(test)) * 3 * size**2)
    say(
        f"reading {plural(count, 'training image')} and {plural(len(test), 'test image')}",
        error=True,
    )
    images, errors = _pixels(train.paths + test.paths, size)
    unreadable = [error for error in errors if error is not None]
    if unreadable and not skip_unreadable:
        raise UnreadableImages(unreadable)
    if unreadable:
        say(f"left out {plural(len(unreadable), 'file')} that cannot be read", error=True)
        list_unreadable(unreadable)
    return (
        _readable(train, images[:count], errors[:count]),
        _readable(test, images[count:], errors[count:]),
    )


def _readable(files: Files, images: np.ndarray, errors: Sequence[UnreadableImage | None]) -> Part:
    """The files without an error, and their images."""
    indices = [i for i, error in enumerate(errors) if error is None]
    if len(indices) == len(files):
        return files, images
    return files.take(indices), images[indices]


def _pixels(paths: list[Path], size: int) -> tuple[np.ndarray, list[UnreadableImage | None]]:
    """The images of all files, uint8 [n, 3, size, size], and for each what prevents it, if any."""
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)

    def place(i: int) -> UnreadableImage | None:
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
            errors.append(error)
    return images, errors


def _split(images: np.ndarray, files: Files, classes: list[str], domains: list[str]) -> Split:
    labels = _indices(files.labels, classes)
    return Split(images, labels, _indices(files.domains, domains) if domains else None)


def _indices(values: list[str], names: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[value] for value in values], dtype=np.int64)
