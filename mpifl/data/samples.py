"""Samples as files name them: labels, domains and clients of any integers or strings.

`assembled` numbers them from 0; `hold_out` draws a test part where the files have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpifl.data.dataset import Dataset, Split, assemble, kind, stratified
from mpifl.options import BadInput
from mpifl.seeds import generator


@dataclass(frozen=True)
class Samples:
    """The samples of one part: images as uint8 [n, c, h, w], the other values as in the file."""

    images: np.ndarray
    labels: np.ndarray
    domains: np.ndarray | None
    clients: np.ndarray | None

    def take(self, indices: np.ndarray) -> Samples:
        """The samples at `indices`, in that order."""
        return Samples(
            self.images[indices],
            self.labels[indices],
            None if self.domains is None else self.domains[indices],
            None if self.clients is None else self.clients[indices],
        )


def optional_column(where: str, values: np.ndarray | None, length: int) -> np.ndarray | None:
    """As `column`, where there is one."""
    return None if values is None else column(where, values, length)


def column(where: str, values: np.ndarray, length: int) -> np.ndarray:
    """One value for each of `length` samples: int64 or strings, [n].

    Raises BadInput, which begins with `where`, for other arrays.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and len(values) == length:
        raise BadInput(
            f"{where}: expected one value for each image, [{length}]; got several, "
            f"{kind(values)}: mpifl trains on one label an image"
        )
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


def hold_out(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples, str]:
    """The training samples, the test samples, and how they were held out.

    The test is this share of each client's samples, or without clients of each class of each
    domain, drawn with the seed.
    """
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


def assembled(
    name: str,
    path: Path,
    train: Samples,
    test: Samples,
    classes: np.ndarray | None,
    source: str,
) -> Dataset:
    """The data set of these two parts, with labels, domains and clients numbered from 0.

    `classes` are the class names, if labels are places among them; else each different label is a
    class. Domains and clients are in the order of their names. Raises BadInput, which begins with
    the `path` of the samples.
    """
    class_names, train_labels, test_labels = _labels(path, train, test, classes)
    domain_names, train_domains, test_domains = _coded(path, "domains", train.domains, test.domains)
    client_names, train_clients, test_clients = _coded(path, "clients", train.clients, test.clients)
    return assemble(
        name,
        Split(train.images, train_labels, train_domains, train_clients),
        Split(test.images, test_labels, test_domains, test_clients),
        class_names,
        source,
        domain_names,
        client_names,
    )


def _labels(
    path: Path, train: Samples, test: Samples, classes: np.ndarray | None
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
