"""The table of data sets: a name -> a function that loads it. `mpifl data` lists it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpifl.data import arrays, digits, hugging_face, images, leaf, synthetic
from mpifl.data.dataset import Dataset
from mpifl.data.published import PUBLISHED
from mpifl.data.published_files import PUBLISHED_FILES
from mpifl.options import BadInput


@dataclass(frozen=True)
class Source:
    """One data set: a line that describes it, and the function that loads it."""

    summary: str
    loader: Callable[..., Dataset]

    @property
    def options(self) -> dict[str, object]:
        """The options that `load` takes: its keyword-only parameters, with their defaults."""
        parameters = inspect.signature(self.loader).parameters.values()
        return {
            parameter.name: parameter.default
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY
        }

    def load(
        self, root: Path | str | None = None, download: bool = False, **options: object
    ) -> Dataset:
        """Load the data set, from files under `root` if it is not made or shipped by mpifl.

        Raises BadInput where a file is missing, and for an option that the data set does not take.
        """
        defaults = self.options
        for name in sorted(options.keys() - defaults.keys()):
            allowed = ", ".join(defaults) or "none"
            raise BadInput(f"data: expected an option among {allowed}; got {name!r}")
        for name, value in options.items():
            _check_option(name, value, defaults[name])
        folder = None if root is None else Path(root)
        return self.loader(folder, download, **options)


def _check_option(name: str, value: object, default: object) -> None:
    if not _same_kind(value, default):
        raise BadInput(f"data: {name}: expected something like {default!r}; got {value!r}")
    if isinstance(value, int | float) and not 0 <= value < math.inf:
        raise BadInput(f"data: {name}: expected 0 or more; got {value!r}")


def _same_kind(value: object, default: object) -> bool:
    """Whether a value has the type of its default. An integer may stand for a float."""
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, tuple):
        item_like = default[0] if default else 0.0
        return isinstance(value, tuple) and all(_same_kind(item, item_like) for item in value)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))


SUMMARIES = {
    "cifar10": "10 classes, 50,000 + 10,000 colour images of 32 x 32 (Krizhevsky, 2009)",
    "cifar100": "100 classes, 50,000 + 10,000 colour images of 32 x 32 (Krizhevsky, 2009)",
    "mnist": "10 digits, 60,000 + 10,000 grey images of 28 x 28 (LeCun et al., 1998)",
    "fashionmnist": (
        "10 kinds of clothing, 60,000 + 10,000 grey images of 28 x 28 (Xiao et al., 2017)"
    ),
    "svhn": (
        "10 digits of house numbers, 73,257 + 26,032 colour images of 32 x 32 (Netzer et al., 2011)"
    ),
    "kmnist": (
        "10 cursive Japanese characters, 60,000 + 10,000 grey images of 28 x 28 (Clanuwat et al., "
        "2018)"
    ),
    "emnist-byclass": (
        "62 handwritten digits and letters, 697,932 + 116,323 grey images of 28 x 28 (Cohen et "
        "al., 2017)"
    ),
    "emnist-bymerge": "the same with 47 classes: letters of one shape are merged",
    "emnist-balanced": "47 of these classes, 112,800 + 18,800 images, as many of each",
    "emnist-letters": "26 letters, capital and small merged, 124,800 + 20,800 images",
    "emnist-digits": "10 digits, 240,000 + 40,000 images",
    "emnist-mnist": "10 digits, 60,000 + 10,000 images",
    "stl10": "10 classes, 5,000 + 8,000 colour images of 96 x 96 (Coates et al., 2011)",
    "flowers102": (
        "102 flowers, 1,020 + 6,149 photographs (Nilsback and Zisserman, 2008); the validation "
        "part is left out"
    ),
    "pets": "37 breeds, 3,680 + 3,669 photographs (Parkhi et al., 2012)",
    "dtd": (
        "47 textures, 1,880 + 1,880 photographs (Cimpoi et al., 2014); the validation part is left "
        "out"
    ),
    "aircraft": "100 aircraft, 6,667 + 3,333 photographs (Maji et al., 2013)",
    "food101": "101 dishes, 75,750 + 25,250 photographs (Bossard et al., 2014)",
    "gtsrb": "43 traffic signs, 26,640 + 12,630 photographs (Stallkamp et al., 2012)",
}

SOURCES: dict[str, Source] = {
    **{
        published.name: Source(SUMMARIES[published.name], published)
        for published in (*PUBLISHED, *PUBLISHED_FILES)
    },
    "images": Source(
        "a folder of image files: Tiny-ImageNet, ImageNet-200, PACS or your own", images.load
    ),
    "arrays": Source(
        "your own arrays: an .npz file of images, labels, and perhaps domains and clients",
        arrays.load,
    ),
    "hf": Source(
        "hf:NAME, hf:FOLDER or hf:FILE.parquet: images that Hugging Face's datasets reads",
        hugging_face.load,
    ),
    "femnist": Source(
        "62 handwritten characters of 28 x 28, by writer, in LEAF's files (Caldas et al., 2018)",
        leaf.load,
    ),
    "digits": Source(
        "10 digits, 1,797 grey images of 8 x 8 that come with mpifl "
        "(Alpaydin and Kaynak, UCI, 1998; CC BY 4.0)",
        digits.load,
    ),
    "synthetic": Source("made-up images of any shape whose labels can be learnt", synthetic.load),
}
