"""Published data sets that torchvision can download, and reads as arrays: CIFAR, MNIST ...

Only CIFAR's files are pickles; torchvision compares their checksums before it loads them.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpifl import vision
from mpifl.data.dataset import Dataset, Split, assemble
from mpifl.options import BadInput

_BROKEN = (RuntimeError, OSError, ValueError, AssertionError, EOFError, KeyError)
"""what torchvision raises for files that are missing or broken"""

ROOT = Path("data")
"""the default root: where files are looked for, and where they are downloaded to"""

DIGITS = tuple(str(digit) for digit in range(10))
MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"
"""EMNIST's classes where small letters that look like capital ones are merged with them"""
KRIZHEVSKY = "https://www.cs.toronto.edu/~kriz/"
IDX = "{train-images-idx3,train-labels-idx1,t10k-images-idx3,t10k-labels-idx1}-ubyte.gz"
BY_TRAIN = ({"train": True}, {"train": False})
BY_SPLIT = ({"split": "train"}, {"split": "test"})


@dataclass(frozen=True)
class Published:
    """One class of `torchvision.datasets`; a call loads its two parts as a Dataset."""

    name: str
    maker: str
    """the name of the class"""
    folder: str
    """the folder of its files, below root"""
    address: str
    """the URL of its files, with braces as in a shell"""
    parts: tuple[Mapping[str, object], Mapping[str, object]] = BY_TRAIN
    """the arguments for the training and for the test part"""
    classes: tuple[str, ...] | None = None
    """class names, if torchvision has none or numbers them"""
    transposed: bool = False
    """whether the files have columns for rows"""
    first_label: int = 0
    """the label of the first class"""

    def __call__(self, root: Path | None = None, download: bool = False) -> Dataset:
        """The data set from files in `root`. Missing or broken files are BadInput."""
        of_train, of_test = self.open(root, download)
        train = self._split(of_train)
        test = self._split(of_test)
        return assemble(self.name, train, test, self.class_names(of_train), self.source)

    @property
    def source(self) -> str:
        """Who reads the data set."""
        return f"torchvision.datasets.{self.maker}"

    def open(self, root: Path | None, download: bool) -> tuple[Any, Any]:
        """torchvision's two parts. Missing or broken files are BadInput."""
        root = ROOT if root is None else root
        try:
            maker = getattr(vision.datasets(), self.maker)
            of_train, of_test = self.parts
            train = maker(str(root), download=download, **of_train)
            test = maker(str(root), download=download, **of_test)
        except ImportError as error:
            raise BadInput(self._lacking(error)) from error
        except _BROKEN as error:
            raise BadInput(self._missing(root, download, error)) from error
        return train, test

    def class_names(self, train: Any) -> tuple[str, ...]:
        """The names of the classes, from those of torchvision's training part if need be."""
        return self.classes or tuple(train.classes)

    def _lacking(self, error: ImportError) -> str:
        needed = "torchvision"
        package = "'mpifl[vision]'"
        if error.name == "scipy":  # torchvision reads SVHN's files by it
            needed = "scipy"
            package = "scipy"
        return (
            f"data.{self.name}: expected {needed}, which reads its files; got: {error}; "
            f"`pip install {package}`"
        )

    def _missing(self, root: Path, download: bool, error: Exception) -> str:
        where = (root / self.folder).absolute()
        reason = " ".join(str(error).partition(". You can use")[0].split())
        remedy = f"fetch {self.address} elsewhere and put its files, unpacked, there"
        if not download:
            remedy = f"add --download, or say where with --root, or {remedy}"
        return (
            f"data.{self.name}: expected {self.maker}'s files in {where}; got {reason!r}; {remedy}"
        )

    def _split(self, part: Any) -> Split:
        """The samples of one of torchvision's parts."""
        images = np.asarray(part.data)
        if images.ndim == 3:  # grey: n, h, w
            images = images[:, None]
        elif images.shape[-1] == 3:  # CIFAR: n, h, w, c; SVHN is n, c, h, w already
            images = images.transpose(0, 3, 1, 2)
        if self.transposed:
            images = images.swapaxes(2, 3)
        labels = part.labels if hasattr(part, "labels") else part.targets
        numbers = np.asarray(labels, dtype=np.int64) - self.first_label
        return Split(np.ascontiguousarray(images), numbers)


def _emnist(split: str, classes: str, first_label: int = 0) -> Published:
    """A split of EMNIST (Cohen et al. 2017), whose files have columns for rows."""
    return Published(
        f"emnist-{split}",
        "EMNIST",
        "EMNIST/raw",
        "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
        parts=({"split": split, "train": True}, {"split": split, "train": False}),
        classes=tuple(classes),
        transposed=True,
        first_label=first_label,
    )


PUBLISHED = (
    Published("cifar10", "CIFAR10", "cifar-10-batches-py", f"{KRIZHEVSKY}cifar-10-python.tar.gz"),
    Published("cifar100", "CIFAR100", "cifar-100-python", f"{KRIZHEVSKY}cifar-100-python.tar.gz"),
    Published(
        "mnist",
        "MNIST",
        "MNIST/raw",
        f"https://ossci-datasets.s3.amazonaws.com/mnist/{IDX}",
        classes=DIGITS,
    ),
    Published(
        "fashionmnist",
        "FashionMNIST",
        "FashionMNIST/raw",
        f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{IDX}",
    ),
    Published(
        "svhn",
        "SVHN",
        "",
        "http://ufldl.stanford.edu/housenumbers/{train,test}_32x32.mat",
        parts=BY_SPLIT,
        classes=DIGITS,
    ),
    Published(
        "kmnist",
        "KMNIST",
        "KMNIST/raw",
        f"http://codh.rois.ac.jp/kmnist/dataset/kmnist/{IDX}",
    ),
    _emnist("byclass", string.digits + string.ascii_uppercase + string.ascii_lowercase),
    _emnist("bymerge", MERGED),
    _emnist("balanced", MERGED),
    _emnist("letters", string.ascii_lowercase, first_label=1),
    _emnist("digits", string.digits),
    _emnist("mnist", string.digits),
    Published(
        "stl10",
        "STL10",
        "stl10_binary",
        "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        parts=BY_SPLIT,
    ),
)
