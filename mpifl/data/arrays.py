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
from mpifl.data.dataset import Dataset, Split, assemble, kind, stratified
from mpifl.options import BadInput
from mpifl.seeds import generator
from mpifl.terminal import say

_MOST_CHANNELS = 4  # of images whose layout is not said
_BLOCK = 1024  # images scaled at once
_LAYOUTS = ("nhwc", "nchw")


@dataclass(frozen=True)
class _Samples:
    """The samples of one part: images as uint8 [n, c, h, w], the other values as in the file."""

    images: np.ndarray
    labels: np.ndarray
    domains: np.ndarray | None
    clients: np.ndarray | None

    def take(self, indices: np.ndarray) -> _Samples:
        return _Samples(
            self.images[indices],
            self.labels[indices],
            None if self.domains is None else self.domains[indices],
            None if self.clients is None else self.clients[indices],
        )


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
        train_samples, test_samples, origin = _hold_out(samples, held_out, seed)
        others += [part for part in parts if part]
    if others:
        say(f"passed over {', '.join(sorted(others))} of {root}", error=True)
    return _assembled(name or root.stem, root, train_samples, test_samples, classes, origin)


@dataclass(frozen=True)
class _Reader:
    """Makes samples of the arrays of one file, or says what is wrong with which array."""

    path: Path
    layout: str
    values: tuple[float, ...]

    def samples(self, part: str, arrays: Mapping[str, np.ndarray]) -> _Samples:
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
        return _Samples(
            self._bytes(f"{where}images", self._channels_first(f"{where}images", images)),
            _column(f"{where}labels", arrays["labels"], length),
            _optional(f"{where}domains", arrays.get("domains"), length),
            _optional(f"{where}clients", arrays.get("clients"), length),
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


def _optional(where: str, values: np.ndarray | None, length: int) -> np.ndarray | None:
    return None if values is None else _column(where, values, length)


def _column(where: str, values: np.ndarray, length: int) -> np.ndarray:
    """One value for each sample: int64 or strings, [n]."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (length,):
        raise BadInput(
            f"{where}: expected one value for each of {length} images, [{length}]; got "
            f"{kind(values)}"
        )
    values = _decoded(values)
    if values.dtype.kind == "U":
        return values
    if values.dtype.kind not in "bui" and not _whole(values):
        raise BadInput(f"{where}: expected integers or strings; got {kind(values)}")
    return values.astype(np.int64)


def _whole(values: np.ndarray) -> bool:
    """Whether all values are floats that int64 has too."""
    if values.dtype.kind != "f":
        return False
    return bool((np.abs(values) < 2.0**63).all()) and np.array_equal(values, np.rint(values))


def _decoded(values: np.ndarray) -> np.ndarray:
    """Bytes as strings, different ones as different ones; other values as they are."""
    return (
        np.char.decode(values, "utf-8", "backslashreplace") if values.dtype.kind == "S" else values
    )


def _hold_out(samples: _Samples, share: float, seed: int) -> tuple[_Samples, _Samples, str]:
    """The training samples, the test samples, and how they were held out."""
    if samples.clients is not None:
        groups = samples.clients
        of = "each client's samples"
    elif samples.domains is not None:
        groups = _pairs(samples.domains, samples.labels)
        of = "each class of each domain"
    else:
        groups = samples.labels
        of = "each class"
    count = round(share * len(groups))
    test = stratified(groups, count, generator(seed, "held-out arrays"))
    train = np.setdiff1d(np.arange(len(groups)), test)
    origin = f"{share:g} of {of}, held out with seed {seed}"
    return samples.take(train), samples.take(test), origin


def _pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """int64 [n]: equal where both values are."""
    _, first_codes = np.unique(first, return_inverse=True)
    names, second_codes = np.unique(second, return_inverse=True)
    return first_codes * len(names) + second_codes


def _assembled(
    name: str,
    path: Path,
    train: _Samples,
    test: _Samples,
    classes: np.ndarray | None,
    origin: str,
) -> Dataset:
    class_names, train_labels, test_labels = _labels(path, train, test, classes)
    domain_names, train_domains, test_domains = _coded(path, "domains", train.domains, test.domains)
    client_names, train_clients, test_clients = _coded(path, "clients", train.clients, test.clients)
    return assemble(
        name,
        Split(train.images, train_labels, train_domains, train_clients),
        Split(test.images, test_labels, test_domains, test_clients),
        class_names,
        f"arrays of {path.name}; test images: {origin}",
        domain_names,
        client_names,
    )


def _labels(
    path: Path, train: _Samples, test: _Samples, classes: np.ndarray | None
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The names of the classes, and the labels of both parts, int64 from 0."""
    if classes is not None:
        if train.labels.dtype.kind == "U" or test.labels.dtype.kind == "U":
            raise BadInput(f"{path}: expected labels that are places in `classes`; got strings")
        names = _decoded(classes.ravel())
        return [str(name) for name in names], train.labels, test.labels
    names = np.unique(train.labels)
    unknown = np.setdiff1d(test.labels, names)
    if len(unknown):
        raise BadInput(
            f"{path}: expected the classes of the training labels in the test; got {unknown[0]!s}"
        )
    train_labels = np.searchsorted(names, train.labels)
    test_labels = np.searchsorted(names, test.labels)
    return [str(name) for name in names], train_labels, test_labels


def _coded(
    path: Path, what: str, train: np.ndarray | None, test: np.ndarray | None
) -> tuple[list[str], np.ndarray | None, np.ndarray | None]:
    """The sorted names in both parts, and the place of each sample's, int64 [n]."""
    if train is None and test is None:
        return [], None, None
    if train is None or (test is None and what == "domains"):
        lacking = "training" if train is None else "test"
        raise BadInput(f"{path}: expected {what} of both parts; got none of the {lacking} images")
    every = train if test is None else np.concatenate([train, test])
    names, codes = np.unique(every, return_inverse=True)
    codes = codes.astype(np.int64)
    of_test = None if test is None else codes[len(train) :]
    return [str(name) for name in names], codes[: len(train)], of_test
