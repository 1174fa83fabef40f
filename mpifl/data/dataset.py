"""A labelled image data set in memory: two splits of uint8 images, and what describes them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpifl.options import BadInput
from mpifl.seeds import generator


@dataclass(frozen=True, eq=False)
class Split:
    """The samples of one split, in a fixed order.

    Raises BadInput if an array has another type or shape than given here.
    """

    images: np.ndarray
    """uint8 [n, c, h, w]"""
    labels: np.ndarray
    """int64 [n], each in 0 .. classes - 1"""
    domains: np.ndarray | None = None
    """int64 [n], or None if the data set has no domains"""
    clients: np.ndarray | None = None
    """int64 [n]: whose sample it is; None if the data set names no clients"""

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise BadInput(f"data: expected images uint8 [n, c, h, w]; got {kind(self.images)}")
        for name in ("labels", "domains", "clients"):
            values = getattr(self, name)
            if values is not None and (values.dtype != np.int64 or values.shape != (len(self),)):
                raise BadInput(f"data: expected {name} int64 [{len(self)}]; got {kind(values)}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: np.ndarray) -> Split:
        """The samples at `indices`, in that order."""
        domains = None if self.domains is None else self.domains[indices]
        clients = None if self.clients is None else self.clients[indices]
        return Split(self.images[indices], self.labels[indices], domains, clients)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set; `assemble` makes one with its `mean`, `std` and `checksum`."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    domain_names: tuple[str, ...]
    mean: tuple[float, ...]
    """per channel, of the training images / 255"""
    std: tuple[float, ...]
    """per channel, of the same values; of the population (divided by n)"""
    checksum: str
    """SHA-256 (hex) over images, labels, domains and clients of both splits"""
    source: str
    """where the images come from, in words"""
    client_names: tuple[str, ...] = ()
    """empty if the data set names no clients"""
    validation: Split | None = None
    """test samples of the domains that train, where others are left out and are the test set"""
    left_out: tuple[str, ...] = ()
    """names of the domains that never train"""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return self.train.images.shape[1:]

    @property
    def constant_channels(self) -> list[int]:
        """The channels, counted from 0, that have one value in all training images."""
        return [channel for channel, std in enumerate(self.std) if std == 0]

    @property
    def warning(self) -> str:
        """What users should know before they train on it; "" if nothing."""
        constant = self.constant_channels
        if not constant:
            return ""
        if len(constant) == len(self.std):
            return f"{self.name}: the training images do not vary: the network sees zeros only"
        numbers = ", ".join(map(str, constant))
        return (
            f"{self.name}: the training images do not vary in these channels (counted from 0), "
            f"which the network sees as zeros: {numbers}"
        )


def assemble(
    name: str,
    train: Split,
    test: Split,
    classes: Sequence[str],
    source: str,
    domain_names: Sequence[str] = (),
    client_names: Sequence[str] = (),
) -> Dataset:
    """A Dataset of these two splits; raises BadInput if they do not fit each other or the names."""
    check_fit(train, test, tuple(classes), tuple(domain_names))
    check_clients(train, test, len(client_names))
    mean, std = moments(train.images)
    return Dataset(
        name=name,
        train=train,
        test=test,
        classes=_storable(classes),
        domain_names=_storable(domain_names),
        mean=mean,
        std=std,
        checksum=checksum(train, test),
        source=source,
        client_names=_storable(client_names),
    )


def _storable(names: Sequence[str]) -> tuple[str, ...]:
    """Names that HDF5 can store: folders may have bytes that are not UTF-8, which are escaped."""
    return tuple(name.encode("utf-8", "backslashreplace").decode() for name in names)


def check_clients(train: Split, test: Split, names: int) -> None:
    """Raise BadInput unless the training samples have clients where there are names of clients.

    Test samples may be nobody's.
    """
    if (train.clients is None) != (names == 0):
        raise BadInput("data: expected clients and their names together; got one without the other")
    for split in (train, test):
        if split.clients is not None:
            refuse_unnamed("clients", split.clients, names)


def check_fit(
    train: Split, test: Split, classes: tuple[str, ...], domain_names: tuple[str, ...]
) -> None:
    """Raise BadInput if a split is empty, image shapes differ, or a label or domain has no name."""
    if not len(train) or not len(test):
        raise BadInput(
            f"data: expected samples in both splits; got {len(train)} train and {len(test)} test"
        )
    if 0 in train.images.shape:
        raise BadInput(f"data: expected images of one pixel or more; got {kind(train.images)}")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise BadInput(
            f"data: expected one image shape; got {kind(train.images)} and {kind(test.images)}"
        )
    for split in (train, test):
        refuse_unnamed("labels", split.labels, len(classes))
        if (split.domains is None) != (not domain_names):
            raise BadInput(
                "data: expected domains and their names together; got one without the other"
            )
        if split.domains is not None:
            refuse_unnamed("domains", split.domains, len(domain_names))


def refuse_unnamed(what: str, values: np.ndarray, names: int) -> None:
    """Raise BadInput unless all `values` are in 0 .. names - 1."""
    if values.min() < 0 or values.max() >= names:
        raise BadInput(
            f"data: expected {what} in 0..{names - 1}; got {values.min()}..{values.max()}"
        )


def kind(values: np.ndarray) -> str:
    """The type and shape of an array in words, for error messages."""
    return f"{values.dtype} {list(values.shape)}"


def moments(images: np.ndarray, block: int = 1024) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and standard deviation of images / 255 for each channel of uint8 [n, c, h, w].

    They are exact: they come from integer histograms.
    """
    histogram = np.zeros((images.shape[1], 256), dtype=np.int64)
    for start in range(0, len(images), block):
        part = images[start : start + block]
        for channel in range(images.shape[1]):
            histogram[channel] += np.bincount(part[:, channel].ravel(), minlength=256)
    of_channels = [_moments_of_counts(counts) for counts in histogram.tolist()]
    mean = tuple(mean for mean, _ in of_channels)
    std = tuple(std for _, std in of_channels)
    return mean, std


def _moments_of_counts(counts: list[int]) -> tuple[float, float]:
    # Python's integers do not overflow: only the last division and root round.
    n = sum(counts)
    first = sum(value * count for value, count in enumerate(counts))
    second = sum(value * value * count for value, count in enumerate(counts))
    return first / (255 * n), (n * second - first * first) ** 0.5 / (255 * n)


def checksum(train: Split, test: Split) -> str:
    """The SHA-256 (hex) over images, labels, domains and clients of both splits.

    Each array follows its name, type and shape.
    """
    digest = hashlib.sha256()
    for name, split in (("train", train), ("test", test)):
        for part in ("images", "labels", "domains", "clients"):
            values = getattr(split, part)
            if values is not None:
                little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
                digest.update(f"{name}/{part} {little.dtype.str} {little.shape}\n".encode())
                digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def refuse_beyond_memory(where: str, wanted: int) -> None:
    """Raise BadInput for images that need more bytes than this machine's memory has.

    The system would grant the memory, and kill the process when it is full.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > memory:
        raise BadInput(
            f"{where}: expected images for {memory:,} bytes of memory; got some of {wanted:,} bytes"
        )


def stratified(groups: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """Ascending int64 indices of n of N samples; each value of `groups` [N] keeps its share.

    Shares are kept to about one sample. They are the first n of a random order in which the groups
    advance together. So with the same draws, a larger choice contains a smaller one.
    """
    order = random.permutation(len(groups))
    _, group, sizes = np.unique(groups[order], return_inverse=True, return_counts=True)
    together = np.argsort(group, kind="stable")
    rank = np.empty(len(groups))
    rank[together] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = np.argsort((rank + 0.5) / sizes[group], kind="stable")[:n]
    return np.sort(order[first])


def limited(dataset: Dataset, train: int | None, test: int | None, seed: int) -> Dataset:
    """The data set with `train` and `test` samples (None: all), class-stratified by `seed`.

    Mean, deviation and checksum are those of the remaining samples. Raises BadInput if a split has
    fewer samples.
    """
    if train is None and test is None:
        return dataset
    train_split = _limited("train", dataset.train, train, seed)
    test_split = _limited("test", dataset.test, test, seed)
    limits = f"limited to {len(train_split)} train and {len(test_split)} test, seed {seed}"
    mean, std = moments(train_split.images)
    return replace(
        dataset,
        train=train_split,
        test=test_split,
        mean=mean,
        std=std,
        checksum=checksum(train_split, test_split),
        source=f"{dataset.source}; {limits}",
    )


def _limited(name: str, split: Split, n: int | None, seed: int) -> Split:
    return split if n is None else split.take(chosen(name, split.labels, n, seed))


def chosen(name: str, labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Ascending int64 indices of the n samples that a limit leaves of the split `name`.

    Raises BadInput if it has fewer.
    """
    refuse_beyond(name, n, len(labels))
    return stratified(labels, n, generator(seed, f"limit {name}"))


def refuse_beyond(name: str, n: int, samples: int) -> None:
    """Raise BadInput if a limit n is not in 1 .. samples, the number of a split's samples."""
    if not 1 <= n <= samples:
        raise BadInput(
            f"data.{name}: expected 1 to {samples} samples, which is all there are; got {n}"
        )
