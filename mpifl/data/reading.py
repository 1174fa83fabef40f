"""Many image files as one array: read by threads, with those that cannot be read told together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from mpifl.data.dataset import refuse_beyond_memory
from mpifl.data.pixels import (
    AS_FILES,
    GREY,
    RGB,
    Picture,
    UnreadableImage,
    channels_of,
    conversion,
    read_picture,
)
from mpifl.options import BadInput
from mpifl.terminal import plural, progress_bar, say

_MOST_LINES = 1000  # of files that cannot be read for the same reason
_BLOCK = 1024  # files that wait for a thread

File = tuple[Path | BytesIO, Path]
"""an image file or its bytes, and what errors call it"""


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


@dataclass(frozen=True)
class Pictures:
    """The images of those files that could be read, in their order."""

    images: np.ndarray
    """uint8 [n, c, h, w]"""
    kept: np.ndarray
    """int64 [n]: which of the files each is of, ascending"""
    conversion: str
    """what has become of the files' kinds of pixels, in words"""


def read_all(
    where: str,
    files: Iterable[File],
    count: int,
    size: int,
    channels: int,
    skip_unreadable: bool,
) -> Pictures:
    """The images of `count` files, as `read_picture` makes them; `where` begins errors.

    `channels` may be AS_FILES. With size 0 all must have one size. Raises BadInput, without
    `skip_unreadable` also for files that cannot be read.
    """
    collected = _Collected(where, count, channels)
    if size:
        collected.allocate((size, size))

    def read(file: File) -> Picture | UnreadableImage:
        content, name = file
        try:
            return read_picture(content, name, size, collected.channels)
        except UnreadableImage as error:
            return error

    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor() as threads,
        progress_bar("images read", count, in_logs=True) as advance,
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for block in _blocks(files):
            for (_, name), picture in zip(block, threads.map(read, block), strict=True):
                collected.add(name, picture)
                advance(1)
    if collected.errors and not skip_unreadable:
        raise UnreadableImages(collected.errors)
    if collected.errors:
        say(f"left out {plural(len(collected.errors), 'file')} that cannot be read", error=True)
        list_unreadable(collected.errors)
    return collected.pictures(channels)


class _Collected:
    """Images as they are read, in one array."""

    def __init__(self, where: str, count: int, channels: int) -> None:
        self.where = where
        self.count = count
        self.channels = RGB if channels == AS_FILES else channels
        self.images: np.ndarray | None = None
        self.first: Path | None = None
        self.modes: list[str] = []
        self.kept: list[int] = []
        self.errors: list[UnreadableImage] = []

    def allocate(self, sides: tuple[int, ...]) -> None:
        """Make room for images of this height and width. Raises BadInput where memory lacks."""
        shape = (self.count, self.channels, *sides)
        # The file of the data set is made in memory too.
        refuse_beyond_memory(self.where, 2 * int(np.prod(shape, dtype=float)))
        self.images = np.empty(shape, dtype=np.uint8)

    def add(self, name: Path, picture: Picture | UnreadableImage) -> None:
        """Take the next file's image, or what prevents it. Raises BadInput for another size."""
        place = len(self.kept) + len(self.errors)
        if isinstance(picture, UnreadableImage):
            self.errors.append(picture)
            return
        if self.images is None:
            self.allocate(picture.pixels.shape[1:])
            self.first = name
        assert self.images is not None
        if picture.pixels.shape != self.images.shape[1:]:
            raise BadInput(
                f"{self.where}: expected images of one size; got {_size(self.images)} in "
                f"{self.first} and {_size(picture.pixels)} in {name}; --option size=64 makes all "
                "squares of 64 pixels"
            )
        self.images[place] = picture.pixels
        self.modes.append(picture.mode)
        self.kept.append(place)

    def pictures(self, channels: int) -> Pictures:
        """All that could be read, with as many channels as are asked for."""
        images = self.images
        if images is None:
            images = np.empty((0, self.channels, 1, 1), dtype=np.uint8)
        kept = np.array(self.kept, dtype=np.int64)
        if len(kept) < len(images):
            images = images[kept]
        channels = channels_of(channels, self.modes)
        if channels < images.shape[1]:  # all are grey, so the channels are the same
            images = np.ascontiguousarray(images[:, :GREY])
        return Pictures(images, kept, conversion(channels, self.modes))


def _size(images: np.ndarray) -> str:
    return f"{images.shape[-1]} x {images.shape[-2]}"


def _blocks(files: Iterable[File]) -> Iterator[list[File]]:
    remaining = iter(files)
    while block := list(islice(remaining, _BLOCK)):
        yield block
