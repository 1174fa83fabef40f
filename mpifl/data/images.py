"""A folder of image files as a data set, in any of three layouts (`image_folders.py`).

Each image is converted to RGB, or to grey where that is asked for, and resized so that its shorter
side has `size` pixels (bicubic, antialiased); then its centre is cut out (`pixels.py`). Classes,
domains and files are in the order of their names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpifl.data.dataset import Dataset, Split, assemble
from mpifl.data.image_folders import LAYOUTS, Files, Found, find
from mpifl.data.pixels import RGB, check_channels
from mpifl.data.reading import Pictures, read_all
from mpifl.options import BadInput
from mpifl.terminal import plural, say


def load(
    root: Path | None = None,
    download: bool = False,
    *,
    size: int = 64,
    channels: int = RGB,
    held_out: float = 0.2,
    seed: int = 0,
    name: str = "",
    skip_unreadable: bool = False,
) -> Dataset:
    """The images under `root`, as squares of `size` pixels. Prints to stderr how far it is.

    `channels`: 3 for RGB, 1 for grey, 0 for grey if all files are grey, else RGB. `name` is that of
    the data set, by default that of the folder. `held_out` (the share of test images) and `seed`
    apply to DOMAIN/CLASS/* only. With `skip_unreadable`, files that cannot be read are listed and
    left out. Raises BadInput if there are no such images, and UnreadableImages, once all files were
    tried, for those that cannot be read.
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
    check_channels("data.images", channels)
    say(f"looking for images in {root}", error=True)
    found = find(root, held_out, seed)
    for note in found.notes:
        say(note, error=True)
    classes = sorted(set(found.train.labels))
    domains = sorted(set(found.train.domains))
    pictures = _read(found, size, channels, skip_unreadable)
    count = len(found.train)
    of_train = pictures.kept < count
    train = found.train.take(pictures.kept[of_train].tolist())
    test = found.test.take((pictures.kept[~of_train] - count).tolist())
    lost = sorted(set(classes) - set(train.labels))
    if lost:
        raise BadInput(
            "data.images: expected a training image that can be read in each class; "
            f"got none in {', '.join(lost)}"
        )
    return assemble(
        name or root.resolve().name,
        _split(pictures.images[: len(train)], train, classes, domains),
        _split(pictures.images[len(train) :], test, classes, domains),
        classes,
        f"image files {pictures.conversion}, shorter side resized to {size} (bicubic) and centre "
        f"cropped; test images: {found.test_origin}",
        domains,
    )


def _read(found: Found, size: int, channels: int, skip_unreadable: bool) -> Pictures:
    """The training and then the test images. Raises as `read_all` does."""
    train, test = found.train, found.test
    say(
        f"reading {plural(len(train), 'training image')} and {plural(len(test), 'test image')}",
        error=True,
    )
    paths = train.paths + test.paths
    files = [(path, path) for path in paths]
    return read_all("data.images", files, len(paths), size, channels, skip_unreadable)


def _split(images: np.ndarray, files: Files, classes: list[str], domains: list[str]) -> Split:
    labels = _indices(files.labels, classes)
    return Split(images, labels, _indices(files.domains, domains) if domains else None)


def _indices(values: list[str], names: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[value] for value in values], dtype=np.int64)
