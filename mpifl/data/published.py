"""Published data sets that torchvision can download and read: CIFAR, MNIST, Fashion-MNIST, SVHN.

Only CIFAR's files are pickles; torchvision compares their checksums before it loads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpifl import vision
from mpifl.data.dataset import Dataset, Split, assemble
from mpifl.options import BadInput

ROOT = Path("data")
"""the default root: where files are looked for, and where they are downloaded to"""

DIGITS = tuple(str(digit) for digit in range(10))
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

    def __call__(self, root: Path | None = None, download: bool = False) -> Dataset:
        """The data set from files in `root`. Missing or broken files are BadInput."""
        root = ROOT if root is None else root
        try:
            maker = getattr(vision.datasets(), self.maker)
            of_train, of_test = self.parts
            train = maker(str(root), download=download, **of_train)
            test = maker(str(root), download=download, **of_test)
        except ImportError as error:
            raise BadInput(self._lacking(error)) from error
        except (RuntimeError, OSError, ValueError) as error:
            raise BadInput(self._missing(root, download, error)) from error
        classes = self.classes or tuple(train.classes)
        source = f"torchvision.datasets.{self.maker}"
        return assemble(self.name, _split(train), _split(test), classes, source)

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


def _split(part: Any) -> Split:
    """The samples of one of torchvision's data sets."""
    images = np.asarray(part.data)
    if images.ndim == 3:  # grey: n, h, w
        images = images[:, None]
    elif images.shape[-1] == 3:  # CIFAR: n, h, w, c; SVHN is n, c, h, w already
        images = images.transpose(0, 3, 1, 2)
    labels = part.labels if hasattr(part, "labels") else part.targets
    return Split(np.ascontiguousarray(images), np.asarray(labels, dtype=np.int64))


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
)
