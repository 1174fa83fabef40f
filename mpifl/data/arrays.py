"""Your own arrays as a data set, from one .npz file as numpy.savez writes it (`npz.py`).

    train_images, train_labels, test_images, test_labels    or
    images, labels                                          a part is held out as the test

Beside the labels there may be the domains and the clients of the samples, such as train_domains and
train_clients, and the names of the `classes`. Images are [n, h, w], [n, h, w, c] or [n, c, h, w];
labels, domains and clients are [n], integers or strings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpifl.data import npz
from mpifl.data.dataset import Dataset, kind
from mpifl.data.samples import Samples, assembled, column, hold_out, optional_column
from mpifl.options import BadInput
from mpifl.terminal import say

_MOST_CHANNELS = 4  # of images whose layout is not said
_BLOCK = 1024  # images scaled at once
_LAYOUTS = ("nhwc", "nchw")


def load(
    root: Path | None = None,
    download: bool = False,
    *,
    held_out: float = 0.2,
    seed: int = 0,
    name: str = "",
    test: str = "test",
    layout: str = "",
    values: tuple[float, ...] = (),
) -> Dataset:
    """The data set in the .npz file `root`.

    `test`: the part that is the test, where the file has parts; else a share `held_out` is drawn
    with `seed`: of each client's samples, or without clients of each class of each domain.
    `layout`: nhwc or nchw, where the shape does not tell. `values`: the values that are black and
    white; by default 0 and 1 for floats, 0 and 65535 for uint16, 0 and 255 for other integers.
    Raises BadInput, which names the file and the array.
    """
    if root is None:
        raise BadInput("data.arrays: expected --root FILE.npz; got no --root")
    if not 0 < held_out < 1:
        raise BadInput(f"data.arrays: expected 0 < held_out < 1; got {held_out}")
    if layout not in ("", *_LAYOUTS):
        raise BadInput(f"data.arrays: layout: expected nhwc or nchw; got {layout!r}")
    if values and (len(values) != 2 or not -math.inf < values[0] < values[1] < math.inf):
        raise BadInput(f"data.arrays: values: expected [BLACK, WHITE]; got {list(values)}")
    parts, classes, others = npz.read(root)
    reader = _Reader(root, layout, values)
    if "train" in parts:
        if test not in parts or test in ("", "train"):
            raise BadInput(
                f"{root}: expected arrays of a part {test!r}, such as {test or 'test'}_images; got "
                f"{', '.join(sorted(parts))}; allowed: --option test=PART"
            )
        train_samples = reader.samples("train", parts["train"])
        test_samples = reader.samples(test, parts[test])
        origin = f"the part {test}"
        others += [part for part in parts if part not in ("train", test)]
    else:
        samples = reader.samples("", parts.get("", {}))
        train_samples, test_samples, origin = hold_out(samples, held_out, seed)
        others += [part for part in parts if part]
    if others:
        say(f"passed over {', '.join(sorted(others))} of {root}", error=True)
    source = f"arrays of {root.name}; test images: {origin}"
    return assembled(name or root.stem, root, train_samples, test_samples, classes, source)


@dataclass(frozen=True)
class _Reader:
    """Makes samples of the arrays of one file, or says what is wrong with which array."""

    path: Path
    layout: str
    values: tuple[float, ...]

    def samples(self, part: str, arrays: Mapping[str, np.ndarray]) -> Samples:
        """The samples of a part; "" is the whole. Raises BadInput."""
        where = f"{self.path}: {part}_" if part else f"{self.path}: "
        for name in ("images", "labels"):
            if name not in arrays:
                raise BadInput(
                    f"{where}{name}: expected such an array; got none; mpifl reads "
                    "train_images, train_labels, test_images, test_labels, or images, labels, with "
                    "domains and clients"
                )
        images = arrays["images"]
        length = len(images) if images.ndim else 0
        return Samples(
            self._bytes(f"{where}images", self._channels_first(f"{where}images", images)),
            column(f"{where}labels", arrays["labels"], length),
            optional_column(f"{where}domains", arrays.get("domains"), length),
            optional_column(f"{where}clients", arrays.get("clients"), length),
        )

    def _channels_first(self, where: str, images: np.ndarray) -> np.ndarray:
        """Images as [n, c, h, w]."""
        if images.ndim == 3:
            return images[:, None]
        if images.ndim != 4:
            raise BadInput(
                f"{where}: expected [n, h, w], [n, h, w, c] or [n, c, h, w]; got {kind(images)}"
            )
        layout = self.layout or _layout(images.shape)
        if not layout:
            raise BadInput(
                f"{where}: expected 1 to {_MOST_CHANNELS} channels on the second or on the last "
                f"axis; got {kind(images)}; say which by --option layout=nhwc or nchw"
            )
        return images if layout == "nchw" else images.transpose(0, 3, 1, 2)

    def _bytes(self, where: str, images: np.ndarray) -> np.ndarray:
        """Images as uint8, scaled from the range of their values to 0..255."""
        if images.dtype == np.uint8 and not self.values:
            return np.ascontiguousarray(images)
        if images.dtype.kind not in "buif":
            raise BadInput(f"{where}: expected numbers; got {kind(images)}")
        black, white = self.values or _range(images.dtype)
        scaled = np.empty(images.shape, dtype=np.uint8)
        for start in range(0, len(images), _BLOCK):
            block = images[start : start + _BLOCK].astype(np.float64)
            inside = (block >= black) & (block <= white)  # NaN is not
            if not inside.all():
                first = np.argwhere(~inside)[0]
                raise BadInput(
                    f"{where}: expected values of {black:g} to {white:g}; got "
                    f"{block[tuple(first)]:g} in image {start + first[0]}; which values are black "
                    "and white says --option values=[BLACK,WHITE]"
                )
            scaled[start : start + _BLOCK] = np.rint((block - black) * (255 / (white - black)))
        return scaled


def _layout(shape: tuple[int, ...]) -> str:
    """Where the channels of images [n, ?, ?, ?] are; "" if that is not clear."""
    first = shape[1] <= _MOST_CHANNELS
    last = shape[3] <= _MOST_CHANNELS
    if first == last:
        return ""
    return "nchw" if first else "nhwc"


def _range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The values that are black and white in an array of this type."""
    if dtype == np.uint16:
        return 0.0, 65535.0
    if dtype.kind in "bf":
        return 0.0, 1.0
    return 0.0, 255.0
