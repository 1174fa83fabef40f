"""Published data sets that torchvision can download, and reads image by image: Flowers, Pets ...

Their images have many sizes: the shorter side of each is resized, and its centre cut out, as for
image folders.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpifl.data.dataset import Dataset, Split, assemble, refuse_beyond_memory
from mpifl.data.pixels import RGB, square
from mpifl.data.published import BY_SPLIT, Published
from mpifl.options import BadInput
from mpifl.terminal import progress_bar

BY_TRAINVAL = ({"split": "trainval"}, {"split": "test"})
_AIRCRAFT = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/"
_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"


@dataclass(frozen=True)
class PublishedFiles:
    """A data set of image files; a call loads its two parts as a Dataset."""

    published: Published

    @property
    def name(self) -> str:
        """What `mpifl data` calls it."""
        return self.published.name

    def __call__(
        self, root: Path | None = None, download: bool = False, *, size: int = 64
    ) -> Dataset:
        """The data set from files in `root`, as squares of `size` pixels.

        Missing or broken files are BadInput.
        """
        if size < 1:
            raise BadInput(f"data.{self.name}: expected size >= 1; got {size}")
        train, test = self.published.open(root, download)
        wanted = 2 * (len(train) + len(test)) * RGB * size**2  # the file is made in memory too
        refuse_beyond_memory(f"data.{self.name}", wanted)
        return assemble(
            self.name,
            self._split(train, "training", size),
            self._split(test, "test", size),
            self.published.class_names(train),
            f"{self.published.source}, shorter side resized to {size} (bicubic) and centre cropped",
        )

    def _split(self, part: Any, what: str, size: int) -> Split:
        """The samples of one of torchvision's parts. Raises BadInput."""
        images = np.empty((len(part), RGB, size, size), dtype=np.uint8)
        labels = np.empty(len(part), dtype=np.int64)

        def place(i: int) -> None:
            try:
                image, label = part[i]
                images[i] = square(image.convert("RGB"), size)
            except Exception as error:  # Pillow's readers can raise anything for a broken file
                raise BadInput(
                    f"data.{self.name}: expected an image; got: {error} (number {i} of the {what} "
                    "images)"
                ) from error
            labels[i] = label

        with (
            ThreadPoolExecutor() as threads,
            progress_bar(f"{what} images read", len(part), in_logs=True) as advance,
        ):
            for _ in threads.map(place, range(len(part))):
                advance(1)
        return Split(images, labels)


PUBLISHED_FILES = (
    PublishedFiles(
        Published(
            "flowers102",
            "Flowers102",
            "flowers-102",
            f"{_OXFORD}/flowers/102/{{102flowers.tgz,imagelabels.mat,setid.mat}}",
            parts=BY_SPLIT,
            classes=tuple(str(number) for number in range(1, 103)),
        )
    ),
    PublishedFiles(
        Published(
            "pets",
            "OxfordIIITPet",
            "oxford-iiit-pet",
            f"{_OXFORD}/pets/data/{{images,annotations}}.tar.gz",
            parts=BY_TRAINVAL,
        )
    ),
    PublishedFiles(
        Published(
            "dtd",
            "DTD",
            "dtd",
            f"{_OXFORD}/dtd/download/dtd-r1.0.1.tar.gz",
            parts=BY_SPLIT,
        )
    ),
    PublishedFiles(
        Published(
            "aircraft",
            "FGVCAircraft",
            "fgvc-aircraft-2013b",
            f"{_AIRCRAFT}fgvc-aircraft-2013b.tar.gz",
            parts=BY_TRAINVAL,
        )
    ),
    PublishedFiles(
        Published(
            "food101",
            "Food101",
            "food-101",
            "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
            parts=BY_SPLIT,
        )
    ),
    PublishedFiles(
        Published(
            "gtsrb",
            "GTSRB",
            "gtsrb",
            f"{_GTSRB}{{GTSRB-Training_fixed,GTSRB_Final_Test_Images,GTSRB_Final_Test_GT}}.zip",
            parts=BY_SPLIT,
            classes=tuple(str(number) for number in range(43)),
        )
    ),
)
