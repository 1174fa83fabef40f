"""Where data sets come from: one table from a name to what loads it, used by `mpifl data`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpifl.data import digits, images, synthetic
from mpifl.data.dataset import Dataset
from mpifl.data.published import PUBLISHED
from mpifl.options import BadInput


@dataclass(frozen=True)
class Source:
    """How to load one data set, and a line on what it is."""

    summary: str
    loader: Callable[..., Dataset]

    @property
    def options(self) -> dict[str, object]:
        """The options that `load` takes, with their defaults."""
        parameters = inspect.signature(self.loader).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def load(self, root: Path | str | None = None, download: bool = False, **options) -> Dataset:
        """The data set, from files under `root` if it needs any; BadInput where they or an option
        are not there.
        """
        if unknown := sorted(options.keys() - self.options.keys()):
            allowed = ", ".join(self.options) or "none"
            raise BadInput(f"data: expected an option among {allowed}; got {unknown[0]!r}")
        for name, value in options.items():
            if not _alike(value, self.options[name]):
                raise BadInput(
                    f"data: {name}: expected something like {self.options[name]!r}; got {value!r}"
                )
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise BadInput(f"data: {name}: expected 0 or more; got {value!r}")
        return self.loader(None if root is None else Path(root), download, **options)


def _alike(value: object, default: object) -> bool:
    """Whether a value is of its default's kind; a whole number will do for a fraction."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_alike(v, default[0]) for v in value)
    kinds = (int, float) if isinstance(default, float) else type(default)
    return isinstance(value, kinds) and not isinstance(value, bool)


SUMMARIES = {
    "cifar10": "10 classes, 50,000 + 10,000 colour images of 32 x 32 (Krizhevsky, 2009)",
    "cifar100": "100 classes, 50,000 + 10,000 colour images of 32 x 32 (Krizhevsky, 2009)",
    "mnist": "10 digits, 60,000 + 10,000 grey images of 28 x 28 (LeCun et al., 1998)",
    "fashionmnist": "10 kinds of clothing, 60,000 + 10,000 grey images of 28 x 28 (Xiao et al., 2017)",
    "svhn": "10 digits of house numbers, 73,257 + 26,032 colour images of 32 x 32 (Netzer et al., 2011)",
}

SOURCES: dict[str, Source] = {
    **{published.name: Source(SUMMARIES[published.name], published) for published in PUBLISHED},
    "images": Source(
        "a folder of image files: Tiny-ImageNet, ImageNet-200, PACS or your own", images.load
    ),
    "digits": Source(
        "10 digits, 1,797 grey images of 8 x 8 that come with scikit-learn", digits.load
    ),
    "synthetic": Source("made-up images of any shape whose labels can be learnt", synthetic.load),
}
